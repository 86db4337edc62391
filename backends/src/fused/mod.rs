//! The operations between a transformer's matrix products, each one pass over its data.
//!
//! Statistics (means, norms, softmax, rotation angles) are always in f32, whatever the dtype of
//! the activations.

mod ops;
pub(crate) mod portable;

pub use ops::{FusedOps, Rotation, Turned};

use burn::tensor::backend::Backend;
use burn::tensor::{Tensor, TensorPrimitive};

use crate::fp8::{Activations, Arithmetic, Fp8Ops, rounding};

/// `layer_norm(x) * (1 + scale) + shift`, without learned affine parameters.
///
/// * `x`: float `[batch, tokens, channels]`.
/// * `shift`, `scale`: float `[batch, 1, channels]`.
pub fn modulated_layer_norm<B: FusedOps>(
    x: Tensor<B, 3>,
    shift: Tensor<B, 3>,
    scale: Tensor<B, 3>,
    epsilon: f64,
) -> Tensor<B, 3> {
    wrap(B::modulated_layer_norm(
        unwrap(x),
        unwrap(shift),
        unwrap(scale),
        epsilon,
    ))
}

/// `x / sqrt(mean(x²) + epsilon) * weight` over the last dimension.
///
/// * `x`: float `[.., channels]`; `weight`: f32 `[channels]`.
pub fn rms_norm<B: FusedOps, const D: usize>(
    x: Tensor<B, D>,
    weight: Tensor<B, 1>,
    epsilon: f64,
) -> Tensor<B, D> {
    wrap(B::rms_norm(unwrap(x), unwrap(weight), epsilon))
}

/// Rotates each head's vector by its token's angles (rotary position embedding).
///
/// * `x`: float `[batch, tokens, heads, head_dim]`.
/// * `cos`, `sin`: f32 `[tokens, head_dim / 2]`.
pub fn rotate<B: FusedOps>(
    x: Tensor<B, 4>,
    cos: Tensor<B, 2>,
    sin: Tensor<B, 2>,
    rotation: Rotation,
) -> Tensor<B, 4> {
    wrap(B::rotate(unwrap(x), unwrap(cos), unwrap(sin), rotation))
}

/// [`rms_norm`] of each head's vector, then [`rotate`].
///
/// * `x`: float `[batch, tokens, heads, head_dim]`; `weight`: f32 `[head_dim]`.
/// * `cos`, `sin`: f32 `[tokens, head_dim / 2]`.
pub fn rms_norm_rotate<B: FusedOps>(
    x: Tensor<B, 4>,
    weight: Tensor<B, 1>,
    cos: Tensor<B, 2>,
    sin: Tensor<B, 2>,
    rotation: Rotation,
    epsilon: f64,
) -> Tensor<B, 4> {
    wrap(B::rms_norm_rotate(
        unwrap(x),
        unwrap(weight),
        unwrap(cos),
        unwrap(sin),
        rotation,
        epsilon,
    ))
}

/// The queries or keys of one stream, before their norm.
#[derive(Clone, Debug)]
pub struct Sequence<B: Backend> {
    /// Float `[batch, tokens, heads, head_dim]`.
    pub x: Tensor<B, 4>,
    /// f32 `[head_dim]`.
    pub weight: Tensor<B, 1>,
    /// f32 `[tokens, head_dim / 2]`.
    pub cos: Tensor<B, 2>,
    /// f32 `[tokens, head_dim / 2]`.
    pub sin: Tensor<B, 2>,
}

impl<B: FusedOps> Sequence<B> {
    fn turned(self) -> Turned<B> {
        Turned {
            x: unwrap(self.x),
            weight: unwrap(self.weight),
            cos: unwrap(self.cos),
            sin: unwrap(self.sin),
        }
    }
}

/// [`rms_norm_rotate`] of two sequences, and then, one for each of `lengths`, so many tokens of the
/// first with a batch of the second after them: float `[1, length + tokens, heads, head_dim]`.
///
/// * `first`: of one batch, which holds the tokens of all lengths, length after length.
/// * `second`: of as many batches as there are lengths.
pub fn rms_norm_rotate_joined<B: FusedOps>(
    first: Sequence<B>,
    second: Sequence<B>,
    lengths: &[usize],
    rotation: Rotation,
    epsilon: f64,
) -> Vec<Tensor<B, 4>> {
    let [first, second] = [first, second].map(Sequence::turned);
    let joined = B::rms_norm_rotate_joined(first, second, lengths, rotation, epsilon);
    joined.into_iter().map(wrap).collect()
}

/// The tanh form of GELU: `0.5 x (1 + tanh(sqrt(2/π) (x + 0.044715 x³)))` (Hendrycks & Gimpel).
pub fn gelu_tanh<B: FusedOps, const D: usize>(x: Tensor<B, D>) -> Tensor<B, D> {
    wrap(B::gelu_tanh(unwrap(x)))
}

/// `silu(gate) * up`, the inner product of a SwiGLU feed-forward.
pub fn silu_mul<B: FusedOps, const D: usize>(gate: Tensor<B, D>, up: Tensor<B, D>) -> Tensor<B, D> {
    wrap(B::silu_mul(unwrap(gate), unwrap(up)))
}

/// `residual + x * gate`.
///
/// * `residual`, `x`: float `[batch, tokens, channels]`; `gate`: float `[batch, 1, channels]`.
pub fn gated_add<B: FusedOps>(
    residual: Tensor<B, 3>,
    x: Tensor<B, 3>,
    gate: Tensor<B, 3>,
) -> Tensor<B, 3> {
    wrap(B::gated_add(unwrap(residual), unwrap(x), unwrap(gate)))
}

/// [`gated_add`], and [`modulated_layer_norm`] of its result: both, in this order.
pub fn gated_add_layer_norm<B: FusedOps>(
    residual: Tensor<B, 3>,
    x: Tensor<B, 3>,
    gate: Tensor<B, 3>,
    shift: Tensor<B, 3>,
    scale: Tensor<B, 3>,
    epsilon: f64,
) -> (Tensor<B, 3>, Tensor<B, 3>) {
    let (sum, y) = B::gated_add_layer_norm(
        unwrap(residual),
        unwrap(x),
        unwrap(gate),
        unwrap(shift),
        unwrap(scale),
        epsilon,
    );
    (wrap(sum), wrap(y))
}

/// `x / max(‖x‖₂, 1e-12) * sqrt(channels) * gamma` with the norm over channels, then SiLU if
/// `silu`.
///
/// * `x`: float `[batch, channels, height, width]`; `gamma`: f32 `[channels]`.
pub fn channel_norm<B: FusedOps>(x: Tensor<B, 4>, gamma: Tensor<B, 1>, silu: bool) -> Tensor<B, 4> {
    wrap(B::channel_norm(unwrap(x), unwrap(gamma), silu))
}

/// `softmax(q kᵀ / sqrt(head_dim)) v`, without a score matrix in memory.
///
/// * `q`: float `[batch, tokens, heads, head_dim]`.
/// * `k`, `v`: float `[batch, keys, kv_heads, head_dim]`, where `kv_heads` divides `heads`
///   (grouped-query attention).
/// * `causal`: token i sees keys 0..=i only.
///
/// Returns `[batch, tokens, heads, head_dim]`.
pub fn attention<B: FusedOps>(
    q: Tensor<B, 4>,
    k: Tensor<B, 4>,
    v: Tensor<B, 4>,
    causal: bool,
) -> Tensor<B, 4> {
    wrap(B::scaled_attention(unwrap(q), unwrap(k), unwrap(v), causal))
}

/// [`attention`] within each of the joint sequences that [`rms_norm_rotate_joined`] makes.
///
/// * `q`, `k`: one float `[1, length + tokens, heads, head_dim]` for each of `lengths`.
/// * `v`: the values of the first sequence, float `[1, all lengths, heads, head_dim]`, and of the
///   second, `[lengths, tokens, heads, head_dim]`.
///
/// Returns what the tokens of the first and of the second sequence see, in the shapes of `v`.
pub fn joint_attention<B: FusedOps>(
    q: Vec<Tensor<B, 4>>,
    k: Vec<Tensor<B, 4>>,
    v: [Tensor<B, 4>; 2],
    lengths: &[usize],
) -> [Tensor<B, 4>; 2] {
    let [q, k] = [q, k].map(|sequences| sequences.into_iter().map(unwrap).collect());
    B::joint_attention(q, k, v.map(unwrap), lengths).map(wrap)
}

/// [`rms_norm_rotate_joined`] of queries and of keys, then [`joint_attention`].
///
/// * `q`, `k`: of the first and of the second sequence.
/// * `arithmetic`: whether to compute on eight bits where the device gains something by that (see
///   [`Fp8Ops::joint_attention_rounded`]).
/// * `rounded`: whether the results are to be rounded to FP8, row by row.
///
/// Returns `[rows, channels]` of the tokens of the first and of the second sequence.
pub fn normed_joint_attention<B: Fp8Ops>(
    q: [Sequence<B>; 2],
    k: [Sequence<B>; 2],
    v: [Tensor<B, 4>; 2],
    lengths: &[usize],
    rotation: (Rotation, f64),
    arithmetic: Arithmetic,
    rounded: bool,
) -> [Activations<B>; 2] {
    let [q, k] = [q, k].map(|sequences| sequences.map(Sequence::turned));
    let v = v.map(unwrap);
    match arithmetic {
        Arithmetic::Exact => rounding::joint_attention::<B>(q, k, v, lengths, rotation, rounded),
        Arithmetic::Fp8 => B::joint_attention_rounded(q, k, v, lengths, rotation, rounded),
    }
}

/// Float tensors one after the other along a dimension, in which alone they may differ. A single
/// one stays where it is.
pub fn concatenate<B: FusedOps, const D: usize>(
    mut parts: Vec<Tensor<B, D>>,
    dim: usize,
) -> Tensor<B, D> {
    if parts.len() == 1 {
        return parts.remove(0);
    }
    let parts = parts.into_iter().map(unwrap).collect();
    wrap(B::concatenate(parts, dim))
}

/// A convolution with stride 1 and a border of zeros that keeps the image's size.
///
/// * `x`: float `[batch, in, height, width]`.
/// * `weight`: f32 `[out, in, side, side]` with an odd side; `bias`: f32 `[out]`.
///
/// Returns `[batch, out, height, width]`.
pub fn conv_same<B: FusedOps>(
    x: Tensor<B, 4>,
    weight: Tensor<B, 4>,
    bias: Tensor<B, 1>,
) -> Tensor<B, 4> {
    wrap(B::conv_same(unwrap(x), unwrap(weight), unwrap(bias)))
}

fn unwrap<B: FusedOps, const D: usize>(tensor: Tensor<B, D>) -> burn::tensor::ops::FloatTensor<B> {
    tensor.into_primitive().tensor()
}

fn wrap<B: FusedOps, const D: usize>(primitive: burn::tensor::ops::FloatTensor<B>) -> Tensor<B, D> {
    Tensor::from_primitive(TensorPrimitive::Float(primitive))
}
