//! The fused operations as compositions of Burn's own, for every backend.

use burn::tensor::backend::Backend;
use burn::tensor::ops::{AttentionModuleOptions, ConvOptions};
use burn::tensor::{FloatDType, Tensor, activation};

use crate::kernels::{
    Attention, ChannelNorm, ConvSame, GatedAdd, GeluTanh, Kernels, LayerNorm, RmsNorm,
    RotaryEmbedding, Rotation, SiluMul,
};

/// Computes [`LayerNorm`] of `x` itself, `[batch, tokens, channels]`.
pub(crate) fn layer_norm<B: Backend>(call: LayerNorm<B>) -> Tensor<B, 3> {
    let (x, dtype) = widen(call.x);
    let centred = x.clone() - x.mean_dim(2);
    let variance = centred.clone().square().mean_dim(2);
    let normed = centred / (variance + call.epsilon).sqrt();
    let (scale, _) = widen(call.scale);
    let (shift, _) = widen(call.shift);
    (normed * (scale + 1.0) + shift).cast(dtype)
}

pub(super) fn rms_norm<B: Backend, const D: usize>(call: RmsNorm<B, D>) -> Tensor<B, D> {
    let shape = call.x.shape();
    let channels = shape[D - 1];
    let rows = shape.num_elements() / channels.max(1);
    let (x, dtype) = widen(call.x.reshape([rows, channels]));
    let (weight, _) = widen(call.weight);
    let mean_square = x.clone().square().mean_dim(1);
    let normed = x / (mean_square + call.epsilon).sqrt() * weight.unsqueeze::<2>();
    normed.cast(dtype).reshape(shape)
}

pub(super) fn rotary_embedding<B: Backend>(call: RotaryEmbedding<B>) -> Tensor<B, 4> {
    let (x, dtype) = widen(call.x);
    let [batch, tokens, heads, dim] = x.dims();
    let half = dim / 2;
    // The plane's two coordinates get a dimension of their own.
    let (split, plane) = match call.rotation {
        Rotation::AdjacentPairs => ([batch, tokens, heads, half, 2], 4),
        Rotation::Halves => ([batch, tokens, heads, 2, half], 3),
    };
    let mut angle_shape = [1, tokens, 1, half, 1];
    if call.rotation == Rotation::Halves {
        angle_shape = [1, tokens, 1, 1, half];
    }
    let x = x.reshape(split);
    let first = x.clone().narrow(plane, 0, 1);
    let second = x.narrow(plane, 1, 1);
    let cos = widen(call.cos).0.reshape(angle_shape);
    let sin = widen(call.sin).0.reshape(angle_shape);
    let rotated = Tensor::cat(
        vec![
            first.clone() * cos.clone() - second.clone() * sin.clone(),
            first * sin + second * cos,
        ],
        plane,
    );
    rotated.reshape([batch, tokens, heads, dim]).cast(dtype)
}

pub(super) fn gelu_tanh<B: Backend, const D: usize>(call: GeluTanh<B, D>) -> Tensor<B, D> {
    let (x, dtype) = widen(call.x);
    let cube = x.clone().powi_scalar(3) * 0.044715;
    let inner = (x.clone() + cube) * std::f64::consts::FRAC_2_PI.sqrt();
    (x * 0.5 * (inner.tanh() + 1.0)).cast(dtype)
}

pub(super) fn silu_mul<B: Backend, const D: usize>(call: SiluMul<B, D>) -> Tensor<B, D> {
    let (gate, dtype) = widen(call.gate);
    let (up, _) = widen(call.up);
    (activation::silu(gate) * up).cast(dtype)
}

pub(super) fn gated_add<B: Backend>(call: GatedAdd<B>) -> Tensor<B, 3> {
    let (residual, dtype) = widen(call.residual);
    let (x, _) = widen(call.x);
    let (gate, _) = widen(call.gate);
    (residual + x * gate).cast(dtype)
}

pub(super) fn channel_norm<B: Backend>(call: ChannelNorm<B>) -> Tensor<B, 4> {
    let (x, dtype) = widen(call.x);
    let channels = x.dims()[1];
    let norm = x.clone().square().sum_dim(1).sqrt().clamp_min(1e-12);
    let (gamma, _) = widen(call.gamma);
    let gamma = gamma.reshape([1, channels, 1, 1]) * (channels as f64).sqrt();
    let y = x / norm * gamma;
    let y = if call.silu { activation::silu(y) } else { y };
    y.cast(dtype)
}

pub(super) fn attention<B: Kernels>(call: Attention<B>) -> Tensor<B, 4> {
    let groups = call.q.dims()[2];
    let q = call.q.swap_dims(1, 2);
    let [k, v] = [call.k, call.v].map(|tensor| {
        let [batch, keys, heads, dim] = tensor.dims();
        let repeats = groups / heads;
        let tensor = if repeats == 1 {
            tensor
        } else {
            tensor
                .reshape([batch, keys, heads, 1, dim])
                .repeat_dim(3, repeats)
                .reshape([batch, keys, groups, dim])
        };
        tensor.swap_dims(1, 2)
    });
    let options = AttentionModuleOptions {
        is_causal: call.causal,
        ..Default::default()
    };
    B::burns_attention([q, k, v], options).swap_dims(1, 2)
}

pub(super) fn conv_same<B: Kernels>(call: ConvSame<B>) -> Tensor<B, 4> {
    let dtype = call.x.dtype();
    let weight = call.weight.cast(dtype);
    let bias = call.bias.cast(dtype);
    let border = weight.dims()[2] / 2;
    let options = ConvOptions::new([1, 1], [border; 2], [1, 1], 1);
    B::burns_conv2d(call.x, weight, bias, options)
}

/// The tensor in f32, and the dtype to return to.
fn widen<B: Backend, const D: usize>(x: Tensor<B, D>) -> (Tensor<B, D>, FloatDType) {
    let dtype = x.dtype().into();
    (x.cast(FloatDType::F32), dtype)
}
