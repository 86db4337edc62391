//! Rotary position embedding (Su et al., "RoFormer", 2021).

use burn::tensor::Tensor;
use burn::tensor::backend::Backend;

/// Which two elements of a head's vector form the plane that an angle rotates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rotation {
    /// Elements `2k` and `2k + 1` (complex numbers in memory).
    AdjacentPairs,
    /// Elements `k` and `k + head_dim / 2` ("rotate half").
    Halves,
}

/// Each head's vector, rotated by its token's angles.
#[derive(Clone, Debug)]
pub struct RotaryEmbedding<B: Backend> {
    /// Float `[batch, tokens, heads, head_dim]`.
    pub x: Tensor<B, 4>,
    /// f32 `[tokens, head_dim / 2]`.
    pub cos: Tensor<B, 2>,
    /// f32 `[tokens, head_dim / 2]`.
    pub sin: Tensor<B, 2>,
    /// The planes that are rotated.
    pub rotation: Rotation,
}

/// Queries or keys before their norm, with what norm and rotary embedding need.
#[derive(Clone, Debug)]
pub struct Sequence<B: Backend> {
    /// Float `[batch, tokens, heads, head_dim]`.
    pub x: Tensor<B, 4>,
    /// The norm's weight, f32 `[head_dim]`.
    pub weight: Tensor<B, 1>,
    /// f32 `[tokens, head_dim / 2]`.
    pub cos: Tensor<B, 2>,
    /// f32 `[tokens, head_dim / 2]`.
    pub sin: Tensor<B, 2>,
}

/// [`RmsNorm`](super::RmsNorm) of each head's vector, then [`RotaryEmbedding`].
#[derive(Clone, Debug)]
pub struct RmsNormRotary<B: Backend> {
    /// The queries or keys.
    pub sequence: Sequence<B>,
    /// The planes that are rotated.
    pub rotation: Rotation,
    /// Added to the mean square.
    pub epsilon: f64,
}

/// [`RmsNormRotary`] of two tensors, whose tokens are then joined: one sequence
/// `[1, length + tokens, heads, head_dim]` for each of `lengths`, which has that many tokens of
/// the first tensor and then one batch of the second.
#[derive(Clone, Debug)]
pub struct JointRmsNormRotary<'a, B: Backend> {
    /// One batch with the tokens of all lengths, length after length.
    pub first: Sequence<B>,
    /// One batch for each length.
    pub second: Sequence<B>,
    /// Tokens of `first` in each joint sequence.
    pub lengths: &'a [usize],
    /// The planes that are rotated.
    pub rotation: Rotation,
    /// Added to the mean square.
    pub epsilon: f64,
}
