//! Attention.

use burn::tensor::Tensor;
use burn::tensor::backend::Backend;

use super::rotary::{Rotation, Sequence};

/// `softmax(q kᵀ / sqrt(head_dim)) v`, without a matrix of all scores in memory.
#[derive(Clone, Debug)]
pub struct Attention<B: Backend> {
    /// Float `[batch, tokens, heads, head_dim]`.
    pub q: Tensor<B, 4>,
    /// Float `[batch, keys, kv_heads, head_dim]`, where `kv_heads` divides `heads` (grouped-query
    /// attention).
    pub k: Tensor<B, 4>,
    /// Float, in the shape of `k`.
    pub v: Tensor<B, 4>,
    /// If true, token `i` sees keys `0..=i` only.
    pub causal: bool,
}

/// [`Attention`] within each of the joint sequences of
/// [`JointRmsNormRotary`](super::JointRmsNormRotary).
#[derive(Clone, Debug)]
pub struct JointAttention<'a, B: Backend> {
    /// Float `[1, length + tokens, heads, head_dim]` for each of `lengths`.
    pub q: Vec<Tensor<B, 4>>,
    /// Float, in the shapes of `q`.
    pub k: Vec<Tensor<B, 4>>,
    /// The values of the first tensor, float `[1, all lengths, heads, head_dim]`, and of the
    /// second, `[lengths, tokens, heads, head_dim]`.
    pub v: [Tensor<B, 4>; 2],
    /// Tokens of the first tensor in each joint sequence.
    pub lengths: &'a [usize],
}

/// [`JointRmsNormRotary`](super::JointRmsNormRotary) of queries and of keys, then
/// [`JointAttention`].
#[derive(Clone, Debug)]
pub struct NormedJointAttention<'a, B: Backend> {
    /// The queries of the first and of the second tensor.
    pub q: [Sequence<B>; 2],
    /// The keys of the first and of the second tensor.
    pub k: [Sequence<B>; 2],
    /// The values, as of [`JointAttention::v`].
    pub v: [Tensor<B, 4>; 2],
    /// Tokens of the first tensor in each joint sequence.
    pub lengths: &'a [usize],
    /// The planes that the rotary embedding rotates.
    pub rotation: Rotation,
    /// Added to the mean square of a head's vector.
    pub epsilon: f64,
    /// If true, the results are quantized to FP8, row by row.
    pub quantize_results: bool,
}
