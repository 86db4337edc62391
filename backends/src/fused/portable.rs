//! The fused operations as compositions of Burn's own, for every backend.

use burn::tensor::backend::Backend;
use burn::tensor::module::{attention, conv2d};
use burn::tensor::ops::{AttentionModuleOptions, ConvOptions, FloatTensor};
use burn::tensor::{FloatDType, Tensor, TensorMetadata, TensorPrimitive, activation};

use super::concatenate;
use super::ops::{FusedOps, Rotation, Turned};

/// See [`modulated_layer_norm`](super::modulated_layer_norm).
pub(crate) fn modulated_layer_norm<B: Backend>(
    x: FloatTensor<B>,
    shift: FloatTensor<B>,
    scale: FloatTensor<B>,
    epsilon: f64,
) -> FloatTensor<B> {
    let (x, dtype) = widen::<B, 3>(x);
    let centred = x.clone() - x.mean_dim(2);
    let variance = centred.clone().square().mean_dim(2);
    let normed = centred / (variance + epsilon).sqrt();
    let (scale, _) = widen::<B, 3>(scale);
    let (shift, _) = widen::<B, 3>(shift);
    narrow(normed * (scale + 1.0) + shift, dtype)
}

/// See [`rms_norm`](super::rms_norm).
pub(crate) fn rms_norm<B: Backend>(
    x: FloatTensor<B>,
    weight: FloatTensor<B>,
    epsilon: f64,
) -> FloatTensor<B> {
    let shape = x.shape();
    let channels = shape[shape.num_dims() - 1];
    let rows = shape.num_elements() / channels.max(1);
    let flat = B::float_reshape(x, [rows, channels].into());
    let (x, dtype) = widen::<B, 2>(flat);
    let (weight, _) = widen::<B, 1>(weight);
    let mean_square = x.clone().square().mean_dim(1);
    let normed = x / (mean_square + epsilon).sqrt() * weight.unsqueeze::<2>();
    B::float_reshape(narrow(normed, dtype), shape)
}

/// See [`rms_norm_rotate_joined`](super::rms_norm_rotate_joined).
pub(crate) fn rms_norm_rotate_joined<B: FusedOps>(
    first: Turned<B>,
    second: Turned<B>,
    lengths: &[usize],
    rotation: Rotation,
    epsilon: f64,
) -> Vec<FloatTensor<B>> {
    let [first, second] = [first, second].map(|turned| {
        let Turned {
            x,
            weight,
            cos,
            sin,
        } = turned;
        let x = B::rms_norm_rotate(x, weight, cos, sin, rotation, epsilon);
        Tensor::<B, 4>::from_primitive(TensorPrimitive::Float(x))
    });
    join(first, second, lengths)
}

/// For each length, so many tokens of `first` with a batch of `second` after them.
fn join<B: FusedOps>(
    first: Tensor<B, 4>,
    second: Tensor<B, 4>,
    lengths: &[usize],
) -> Vec<FloatTensor<B>> {
    let mut start = 0;
    let mut joined = Vec::with_capacity(lengths.len());
    for (batch, &length) in lengths.iter().enumerate() {
        let parts = vec![
            first.clone().narrow(1, start, length),
            second.clone().narrow(0, batch, 1),
        ];
        joined.push(concatenate(parts, 1).into_primitive().tensor());
        start += length;
    }
    joined
}

/// See [`joint_attention`](super::joint_attention).
pub(crate) fn joint_attention<B: FusedOps>(
    q: Vec<FloatTensor<B>>,
    k: Vec<FloatTensor<B>>,
    v: [FloatTensor<B>; 2],
    lengths: &[usize],
) -> [FloatTensor<B>; 2] {
    let [first, second] = v.map(float::<B, 4>);
    let v = join(first, second, lengths);
    let branches = q.into_iter().zip(k).zip(v).zip(lengths);
    let attended = branches.map(|(((q, k), v), &length)| {
        let joint = float::<B, 4>(B::scaled_attention(q, k, v, false));
        let tokens = joint.dims()[1] - length;
        let first = joint.clone().narrow(1, 0, length);
        (first, joint.narrow(1, length, tokens))
    });
    let (first, second): (Vec<_>, Vec<_>) = attended.unzip();
    [concatenate(first, 1), concatenate(second, 0)].map(|part| part.into_primitive().tensor())
}

/// See [`rotate`](super::rotate).
pub(crate) fn rotate<B: Backend>(
    x: FloatTensor<B>,
    cos: FloatTensor<B>,
    sin: FloatTensor<B>,
    rotation: Rotation,
) -> FloatTensor<B> {
    let (x, dtype) = widen::<B, 4>(x);
    let [batch, tokens, heads, dim] = x.dims();
    let half = dim / 2;
    // The plane's two coordinates get a dimension of their own.
    let (split, plane) = match rotation {
        Rotation::AdjacentPairs => ([batch, tokens, heads, half, 2], 4),
        Rotation::Halves => ([batch, tokens, heads, 2, half], 3),
    };
    let mut angle_shape = [1, tokens, 1, half, 1];
    if rotation == Rotation::Halves {
        angle_shape = [1, tokens, 1, 1, half];
    }
    let x = x.reshape(split);
    let first = x.clone().narrow(plane, 0, 1);
    let second = x.narrow(plane, 1, 1);
    let cos = widen::<B, 2>(cos).0.reshape(angle_shape);
    let sin = widen::<B, 2>(sin).0.reshape(angle_shape);
    let rotated = Tensor::cat(
        vec![
            first.clone() * cos.clone() - second.clone() * sin.clone(),
            first * sin + second * cos,
        ],
        plane,
    );
    narrow(rotated.reshape([batch, tokens, heads, dim]), dtype)
}

/// See [`gelu_tanh`](super::gelu_tanh).
pub(crate) fn gelu_tanh<B: Backend>(x: FloatTensor<B>) -> FloatTensor<B> {
    let shape = x.shape();
    let (x, dtype) = widen_flat::<B>(x);
    let cube = x.clone().powi_scalar(3) * 0.044715;
    let inner = (x.clone() + cube) * std::f64::consts::FRAC_2_PI.sqrt();
    let y = x * 0.5 * (inner.tanh() + 1.0);
    B::float_reshape(narrow(y, dtype), shape)
}

/// See [`silu_mul`](super::silu_mul).
pub(crate) fn silu_mul<B: Backend>(gate: FloatTensor<B>, up: FloatTensor<B>) -> FloatTensor<B> {
    let shape = gate.shape();
    let (gate, dtype) = widen_flat::<B>(gate);
    let (up, _) = widen_flat::<B>(up);
    B::float_reshape(narrow(activation::silu(gate) * up, dtype), shape)
}

/// See [`gated_add`](super::gated_add).
pub(crate) fn gated_add<B: Backend>(
    residual: FloatTensor<B>,
    x: FloatTensor<B>,
    gate: FloatTensor<B>,
) -> FloatTensor<B> {
    let (residual, dtype) = widen::<B, 3>(residual);
    let (x, _) = widen::<B, 3>(x);
    let (gate, _) = widen::<B, 3>(gate);
    narrow(residual + x * gate, dtype)
}

/// See [`gated_add_layer_norm`](super::gated_add_layer_norm).
pub(crate) fn gated_add_layer_norm<B: FusedOps>(
    residual: FloatTensor<B>,
    x: FloatTensor<B>,
    gate: FloatTensor<B>,
    shift: FloatTensor<B>,
    scale: FloatTensor<B>,
    epsilon: f64,
) -> (FloatTensor<B>, FloatTensor<B>) {
    let sum = B::gated_add(residual, x, gate);
    let y = B::modulated_layer_norm(sum.clone(), shift, scale, epsilon);
    (sum, y)
}

/// See [`channel_norm`](super::channel_norm).
pub(crate) fn channel_norm<B: Backend>(
    x: FloatTensor<B>,
    gamma: FloatTensor<B>,
    silu: bool,
) -> FloatTensor<B> {
    let (x, dtype) = widen::<B, 4>(x);
    let channels = x.dims()[1];
    let norm = x.clone().square().sum_dim(1).sqrt().clamp_min(1e-12);
    let (gamma, _) = widen::<B, 1>(gamma);
    let gamma = gamma.reshape([1, channels, 1, 1]) * (channels as f64).sqrt();
    let y = x / norm * gamma;
    narrow(if silu { activation::silu(y) } else { y }, dtype)
}

/// See [`attention`](super::attention).
pub(crate) fn scaled_attention<B: Backend>(
    q: FloatTensor<B>,
    k: FloatTensor<B>,
    v: FloatTensor<B>,
    causal: bool,
) -> FloatTensor<B> {
    let q = float::<B, 4>(q);
    let groups = q.dims()[2];
    let q = q.swap_dims(1, 2);
    let [k, v] = [k, v].map(|tensor| {
        let tensor = float::<B, 4>(tensor);
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
        is_causal: causal,
        ..Default::default()
    };
    attention(q, k, v, None, None, options)
        .swap_dims(1, 2)
        .into_primitive()
        .tensor()
}

/// See [`conv_same`](super::conv_same).
pub(crate) fn conv_same<B: Backend>(
    x: FloatTensor<B>,
    weight: FloatTensor<B>,
    bias: FloatTensor<B>,
) -> FloatTensor<B> {
    let x = float::<B, 4>(x);
    let dtype = x.dtype();
    let weight = float::<B, 4>(weight).cast(dtype);
    let bias = float::<B, 1>(bias).cast(dtype);
    let border = weight.dims()[2] / 2;
    let options = ConvOptions::new([1, 1], [border; 2], [1, 1], 1);
    conv2d(x, weight, Some(bias), options)
        .into_primitive()
        .tensor()
}

fn float<B: Backend, const D: usize>(primitive: FloatTensor<B>) -> Tensor<B, D> {
    Tensor::from_primitive(TensorPrimitive::Float(primitive))
}

/// The tensor in f32, and the dtype to return to.
fn widen<B: Backend, const D: usize>(primitive: FloatTensor<B>) -> (Tensor<B, D>, FloatDType) {
    let dtype = primitive.dtype().into();
    (float(primitive).cast(FloatDType::F32), dtype)
}

/// As [`widen`], with all dimensions in one, for element-wise operations of any rank.
fn widen_flat<B: Backend>(primitive: FloatTensor<B>) -> (Tensor<B, 1>, FloatDType) {
    let elements = primitive.shape().num_elements();
    widen(B::float_reshape(primitive, [elements].into()))
}

fn narrow<B: Backend, const D: usize>(tensor: Tensor<B, D>, dtype: FloatDType) -> FloatTensor<B> {
    tensor.cast(dtype).into_primitive().tensor()
}

#[cfg(all(test, feature = "flex"))]
mod tests;
