//! Operations on images and feature maps.

use burn::tensor::Tensor;
use burn::tensor::backend::Backend;

/// `x / max(‖x‖₂, 1e-12) * sqrt(channels) * gamma` with the norm over channels, then SiLU if
/// `silu`.
#[derive(Clone, Debug)]
pub struct ChannelNorm<B: Backend> {
    /// Float `[batch, channels, height, width]`.
    pub x: Tensor<B, 4>,
    /// f32 `[channels]`.
    pub gamma: Tensor<B, 1>,
    /// If true, SiLU follows.
    pub silu: bool,
}

/// A convolution with stride 1 and a border of zeros that keeps the image's size.
#[derive(Clone, Debug)]
pub struct ConvSame<B: Backend> {
    /// Float `[batch, in, height, width]`.
    pub x: Tensor<B, 4>,
    /// f32 `[out, in, side, side]` with an odd side.
    pub weight: Tensor<B, 4>,
    /// f32 `[out]`.
    pub bias: Tensor<B, 1>,
}
