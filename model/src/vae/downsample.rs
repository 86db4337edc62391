//! Halving of the resolution.

use backends::Kernels;
use burn::module::Module;
use burn::tensor::Tensor;
use burn::tensor::backend::Backend;

use super::conv::Conv;
use super::stages::{Step, StepKind};
use crate::builder::Builder;

/// A 3 x 3 convolution with stride 2, with zeros right of the image and below it.
#[derive(Module, Debug)]
pub struct Downsample<B: Backend> {
    /// The convolution (`resample.1` in checkpoints).
    pub resample_1: Conv<B>,
}

impl<B: Backend> Downsample<B> {
    /// A downsampler whose parameters wait for a loader.
    pub fn uninitialized(channels: usize, at: &Builder<B>) -> Self {
        Self {
            resample_1: Conv::spatial(channels, channels, &at.at("resample.1")),
        }
    }

    /// The shape of this step, from which tiles and memory are planned.
    pub(crate) fn step(&self) -> Step {
        let [output, input] = self.resample_1.channels();
        Step {
            kind: StepKind::Downsample,
            input,
            output,
            margin: self.resample_1.margin(),
        }
    }
}

impl<B: Kernels> Downsample<B> {
    /// f32 `[batch, channels, 2h, 2w]` to `[batch, channels, h, w]`.
    pub fn forward(&self, x: Tensor<B, 4>) -> Tensor<B, 4> {
        let [batch, channels, height, width] = x.dims();
        let (height, width) = (height / 2, width / 2);
        // The reference's output pixel reads from pixel 2i on, three of them: those around pixel
        // 2i + 1. The other pixels of the convolution are dropped, a fifth of the encoder's work
        // that a kernel with a stride would save.
        self.resample_1
            .forward(x)
            .reshape([batch, channels, height, 2, width, 2])
            .narrow(3, 1, 1)
            .narrow(5, 1, 1)
            .reshape([batch, channels, height, width])
    }
}
