//! The backend extension, with bodies that run on every backend.

use burn::tensor::backend::Backend;
use burn::tensor::module::attention;
use burn::tensor::ops::{AttentionModuleOptions, FloatTensor};
use burn::tensor::{FloatDType, Tensor, TensorMetadata, TensorPrimitive, activation};

/// Which two elements of a head's vector form the plane that an angle rotates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rotation {
    /// Elements `2k` and `2k + 1` (complex numbers in memory).
    AdjacentPairs,
    /// Elements `k` and `k + head_dim / 2` ("rotate half").
    Halves,
}

/// Operations that a backend may run as one kernel.
///
/// The free functions of this module are the typed way to call them, and say what each one
/// computes on which shapes.
pub trait FusedOps: Backend {
    /// See [`modulated_layer_norm`](super::modulated_layer_norm).
    fn modulated_layer_norm(
        x: FloatTensor<Self>,
        shift: FloatTensor<Self>,
        scale: FloatTensor<Self>,
        epsilon: f64,
    ) -> FloatTensor<Self> {
        let (x, dtype) = widen::<Self, 3>(x);
        let centred = x.clone() - x.mean_dim(2);
        let variance = centred.clone().square().mean_dim(2);
        let normed = centred / (variance + epsilon).sqrt();
        let (scale, _) = widen::<Self, 3>(scale);
        let (shift, _) = widen::<Self, 3>(shift);
        narrow(normed * (scale + 1.0) + shift, dtype)
    }

    /// See [`rms_norm`](super::rms_norm).
    fn rms_norm(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        epsilon: f64,
    ) -> FloatTensor<Self> {
        let shape = x.shape();
        let channels = shape[shape.num_dims() - 1];
        let rows = shape.num_elements() / channels.max(1);
        let flat = Self::float_reshape(x, [rows, channels].into());
        let (x, dtype) = widen::<Self, 2>(flat);
        let (weight, _) = widen::<Self, 1>(weight);
        let mean_square = x.clone().square().mean_dim(1);
        let normed = x / (mean_square + epsilon).sqrt() * weight.unsqueeze::<2>();
        Self::float_reshape(narrow(normed, dtype), shape)
    }

    /// See [`rotate`](super::rotate).
    fn rotate(
        x: FloatTensor<Self>,
        cos: FloatTensor<Self>,
        sin: FloatTensor<Self>,
        rotation: Rotation,
    ) -> FloatTensor<Self> {
        let (x, dtype) = widen::<Self, 4>(x);
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
        let cos = widen::<Self, 2>(cos).0.reshape(angle_shape);
        let sin = widen::<Self, 2>(sin).0.reshape(angle_shape);
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
    fn gelu_tanh(x: FloatTensor<Self>) -> FloatTensor<Self> {
        let shape = x.shape();
        let (x, dtype) = widen_flat::<Self>(x);
        let cube = x.clone().powi_scalar(3) * 0.044715;
        let inner = (x.clone() + cube) * std::f64::consts::FRAC_2_PI.sqrt();
        let y = x * 0.5 * (inner.tanh() + 1.0);
        Self::float_reshape(narrow(y, dtype), shape)
    }

    /// See [`silu_mul`](super::silu_mul).
    fn silu_mul(gate: FloatTensor<Self>, up: FloatTensor<Self>) -> FloatTensor<Self> {
        let shape = gate.shape();
        let (gate, dtype) = widen_flat::<Self>(gate);
        let (up, _) = widen_flat::<Self>(up);
        Self::float_reshape(narrow(activation::silu(gate) * up, dtype), shape)
    }

    /// See [`gated_add`](super::gated_add).
    fn gated_add(
        residual: FloatTensor<Self>,
        x: FloatTensor<Self>,
        gate: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        let (residual, dtype) = widen::<Self, 3>(residual);
        let (x, _) = widen::<Self, 3>(x);
        let (gate, _) = widen::<Self, 3>(gate);
        narrow(residual + x * gate, dtype)
    }

    /// See [`channel_norm`](super::channel_norm).
    fn channel_norm(
        x: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        silu: bool,
    ) -> FloatTensor<Self> {
        let (x, dtype) = widen::<Self, 4>(x);
        let channels = x.dims()[1];
        let norm = x.clone().square().sum_dim(1).sqrt().clamp_min(1e-12);
        let (gamma, _) = widen::<Self, 1>(gamma);
        let gamma = gamma.reshape([1, channels, 1, 1]) * (channels as f64).sqrt();
        let y = x / norm * gamma;
        narrow(if silu { activation::silu(y) } else { y }, dtype)
    }

    /// See [`attention`](super::attention).
    fn scaled_attention(
        q: FloatTensor<Self>,
        k: FloatTensor<Self>,
        v: FloatTensor<Self>,
        causal: bool,
    ) -> FloatTensor<Self> {
        let q = float::<Self, 4>(q);
        let groups = q.dims()[2];
        let q = q.swap_dims(1, 2);
        let [k, v] = [k, v].map(|tensor| {
            let tensor = float::<Self, 4>(tensor);
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
