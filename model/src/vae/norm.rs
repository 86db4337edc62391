//! Normalisation of a pixel's channels.

use backends::Kernels;
use backends::fused::channel_norm;
use burn::module::{Module, Param};
use burn::tensor::Tensor;
use burn::tensor::backend::Backend;

use crate::builder::Builder;

/// Scales the channels of each pixel to the length `sqrt(channels)`, then by `gamma`.
#[derive(Module, Debug)]
pub struct ChannelNorm<B: Backend> {
    /// f32 `[channels]`.
    pub gamma: Param<Tensor<B, 1>>,
}

impl<B: Backend> ChannelNorm<B> {
    /// A norm whose parameters wait for a loader.
    pub fn uninitialized(channels: usize, at: &Builder<B>) -> Self {
        Self {
            gamma: at.parameter("gamma", [channels]),
        }
    }
}

impl<B: Kernels> ChannelNorm<B> {
    /// Float `[batch, channels, height, width]` to the same.
    pub fn forward(&self, x: Tensor<B, 4>) -> Tensor<B, 4> {
        channel_norm(x, self.gamma.val(), false)
    }

    /// [`forward`](Self::forward), followed by SiLU.
    pub fn forward_silu(&self, x: Tensor<B, 4>) -> Tensor<B, 4> {
        channel_norm(x, self.gamma.val(), true)
    }
}
