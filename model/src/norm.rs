//! Root-mean-square normalisation.

use backends::Kernels;
use backends::fused::rms_norm;
use burn::module::{Module, Param};
use burn::tensor::Tensor;
use burn::tensor::backend::Backend;

/// `x / sqrt(mean(x²) + epsilon) * weight` (Zhang & Sennrich, 2019).
#[derive(Module, Debug)]
pub struct RmsNorm<B: Backend> {
    /// f32 `[channels]`.
    pub weight: Param<Tensor<B, 1>>,
    /// Added to the mean square.
    pub epsilon: f64,
}

impl<B: Kernels> RmsNorm<B> {
    /// Float `[.., channels]` to the same, in the input's dtype.
    pub fn forward<const D: usize>(&self, x: Tensor<B, D>) -> Tensor<B, D> {
        rms_norm(x, self.weight.val(), self.epsilon)
    }
}
