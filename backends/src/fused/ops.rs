//! The backend extension.

use burn::tensor::backend::Backend;
use burn::tensor::ops::FloatTensor;

use super::portable;

/// Which two elements of a head's vector form the plane that an angle rotates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rotation {
    /// Elements `2k` and `2k + 1` (complex numbers in memory).
    AdjacentPairs,
    /// Elements `k` and `k + head_dim / 2` ("rotate half").
    Halves,
}

/// What [`rms_norm_rotate_joined`](super::rms_norm_rotate_joined) takes of one sequence, as
/// primitives.
#[derive(Clone, Debug)]
pub struct Turned<B: Backend> {
    /// See [`Sequence::x`](super::Sequence::x).
    pub x: FloatTensor<B>,
    /// See [`Sequence::weight`](super::Sequence::weight).
    pub weight: FloatTensor<B>,
    /// See [`Sequence::cos`](super::Sequence::cos).
    pub cos: FloatTensor<B>,
    /// See [`Sequence::sin`](super::Sequence::sin).
    pub sin: FloatTensor<B>,
}

/// Operations that a backend may run as one kernel; the bodies given here run on every backend.
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
        portable::modulated_layer_norm::<Self>(x, shift, scale, epsilon)
    }

    /// See [`rms_norm`](super::rms_norm).
    fn rms_norm(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        epsilon: f64,
    ) -> FloatTensor<Self> {
        portable::rms_norm::<Self>(x, weight, epsilon)
    }

    /// See [`rotate`](super::rotate).
    fn rotate(
        x: FloatTensor<Self>,
        cos: FloatTensor<Self>,
        sin: FloatTensor<Self>,
        rotation: Rotation,
    ) -> FloatTensor<Self> {
        portable::rotate::<Self>(x, cos, sin, rotation)
    }

    /// See [`rms_norm_rotate`](super::rms_norm_rotate).
    fn rms_norm_rotate(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        cos: FloatTensor<Self>,
        sin: FloatTensor<Self>,
        rotation: Rotation,
        epsilon: f64,
    ) -> FloatTensor<Self> {
        Self::rotate(Self::rms_norm(x, weight, epsilon), cos, sin, rotation)
    }

    /// See [`rms_norm_rotate_joined`](super::rms_norm_rotate_joined).
    fn rms_norm_rotate_joined(
        first: Turned<Self>,
        second: Turned<Self>,
        lengths: &[usize],
        rotation: Rotation,
        epsilon: f64,
    ) -> Vec<FloatTensor<Self>> {
        portable::rms_norm_rotate_joined::<Self>(first, second, lengths, rotation, epsilon)
    }

    /// See [`gelu_tanh`](super::gelu_tanh).
    fn gelu_tanh(x: FloatTensor<Self>) -> FloatTensor<Self> {
        portable::gelu_tanh::<Self>(x)
    }

    /// See [`silu_mul`](super::silu_mul).
    fn silu_mul(gate: FloatTensor<Self>, up: FloatTensor<Self>) -> FloatTensor<Self> {
        portable::silu_mul::<Self>(gate, up)
    }

    /// See [`gated_add`](super::gated_add).
    fn gated_add(
        residual: FloatTensor<Self>,
        x: FloatTensor<Self>,
        gate: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        portable::gated_add::<Self>(residual, x, gate)
    }

    /// See [`gated_add_layer_norm`](super::gated_add_layer_norm).
    fn gated_add_layer_norm(
        residual: FloatTensor<Self>,
        x: FloatTensor<Self>,
        gate: FloatTensor<Self>,
        shift: FloatTensor<Self>,
        scale: FloatTensor<Self>,
        epsilon: f64,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        portable::gated_add_layer_norm::<Self>(residual, x, gate, shift, scale, epsilon)
    }

    /// See [`channel_norm`](super::channel_norm).
    fn channel_norm(
        x: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        silu: bool,
    ) -> FloatTensor<Self> {
        portable::channel_norm::<Self>(x, gamma, silu)
    }

    /// See [`attention`](super::attention).
    fn scaled_attention(
        q: FloatTensor<Self>,
        k: FloatTensor<Self>,
        v: FloatTensor<Self>,
        causal: bool,
    ) -> FloatTensor<Self> {
        portable::scaled_attention::<Self>(q, k, v, causal)
    }

    /// See [`joint_attention`](super::joint_attention).
    fn joint_attention(
        q: Vec<FloatTensor<Self>>,
        k: Vec<FloatTensor<Self>>,
        v: [FloatTensor<Self>; 2],
        lengths: &[usize],
    ) -> [FloatTensor<Self>; 2] {
        portable::joint_attention::<Self>(q, k, v, lengths)
    }

    /// See [`concatenate`](super::concatenate).
    fn concatenate(parts: Vec<FloatTensor<Self>>, dim: usize) -> FloatTensor<Self> {
        Self::float_cat(parts, dim)
    }

    /// See [`conv_same`](super::conv_same).
    fn conv_same(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        portable::conv_same::<Self>(x, weight, bias)
    }
}
