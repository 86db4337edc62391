//! Norms of tokens.

use burn::tensor::Tensor;
use burn::tensor::backend::Backend;

use super::linear::Activations;

/// `layer_norm(sum) * (1 + scale) + shift`, without learned affine parameters, of
/// `sum = x + gate * output` where there is an update, and else of `x`.
#[derive(Clone, Debug)]
pub struct LayerNorm<B: Backend> {
    /// Float `[batch, tokens, channels]`.
    pub x: Tensor<B, 3>,
    /// Added to `x` before the norm.
    pub update: Option<GatedUpdate<B>>,
    /// Float `[batch, 1, channels]`.
    pub shift: Tensor<B, 3>,
    /// Float `[batch, 1, channels]`.
    pub scale: Tensor<B, 3>,
    /// Added to the variance.
    pub epsilon: f64,
    /// If true, the normalised tokens are quantized to FP8, row by row.
    pub quantize: bool,
}

/// `gate * output`, which a sub-layer adds to a residual stream.
#[derive(Clone, Debug)]
pub struct GatedUpdate<B: Backend> {
    /// Float `[batch, 1, channels]`.
    pub gate: Tensor<B, 3>,
    /// Float `[batch, tokens, channels]`.
    pub output: Tensor<B, 3>,
}

/// The results of a [`LayerNorm`].
#[derive(Clone, Debug)]
pub struct Normed<B: Backend> {
    /// Float `[batch, tokens, channels]`: the sum, or `x` itself where there was no update.
    pub sum: Tensor<B, 3>,
    /// The normalised tokens, `[batch * tokens, channels]`.
    pub y: Activations<B>,
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
