//! Norms of tokens.

use burn::tensor::Tensor;
use burn::tensor::backend::Backend;

use super::elementwise::GatedAdd;

/// `layer_norm(x) * (1 + scale) + shift`, without learned affine parameters.
#[derive(Clone, Debug)]
pub struct ModulatedLayerNorm<B: Backend> {
    /// Float `[batch, tokens, channels]`.
    pub x: Tensor<B, 3>,
    /// Float `[batch, 1, channels]`.
    pub shift: Tensor<B, 3>,
    /// Float `[batch, 1, channels]`.
    pub scale: Tensor<B, 3>,
    /// Added to the variance.
    pub epsilon: f64,
}

/// [`GatedAdd`], and [`ModulatedLayerNorm`] of the sum.
#[derive(Clone, Debug)]
pub struct GatedAddLayerNorm<B: Backend> {
    /// The sum.
    pub sum: GatedAdd<B>,
    /// Float `[batch, 1, channels]`.
    pub shift: Tensor<B, 3>,
    /// Float `[batch, 1, channels]`.
    pub scale: Tensor<B, 3>,
    /// Added to the variance.
    pub epsilon: f64,
}

/// `x / sqrt(mean(x²) + epsilon) * weight` over the last dimension (Zhang & Sennrich, 2019).
#[derive(Clone, Debug)]
pub struct RmsNorm<B: Backend, const D: usize> {
    /// Float `[.., channels]`.
    pub x: Tensor<B, D>,
    /// f32 `[channels]`.
    pub weight: Tensor<B, 1>,
    /// Added to the mean square.
    pub epsilon: f64,
}
