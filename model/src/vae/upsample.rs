//! Doubling of the resolution.

use backends::Kernels;
use burn::module::Module;
use burn::tensor::Tensor;
use burn::tensor::backend::Backend;

use super::conv::Conv;
use super::stages::{Step, StepKind};
use crate::builder::Builder;

/// Each pixel becomes four, then a convolution halves the channels.
#[derive(Module, Debug)]
pub struct Upsample<B: Backend> {
    /// The convolution (`resample.1` in checkpoints).
    pub resample_1: Conv<B>,
}

impl<B: Backend> Upsample<B> {
    /// An upsampler whose parameters wait for a loader.
    pub fn uninitialized(channels: usize, at: &Builder<B>) -> Self {
        Self {
            resample_1: Conv::spatial(channels, channels / 2, &at.at("resample.1")),
        }
    }

    /// The shape of this step, from which tiles and memory are planned.
    pub(crate) fn step(&self) -> Step {
        let [output, input] = self.resample_1.channels();
        Step {
            kind: StepKind::Upsample,
            input,
            output,
            margin: self.resample_1.margin(),
        }
    }
}

impl<B: Kernels> Upsample<B> {
    /// f32 `[batch, channels, height, width]` to `[batch, channels / 2, 2 height, 2 width]`.
    pub fn forward(&self, x: Tensor<B, 4>) -> Tensor<B, 4> {
        let [batch, channels, height, width] = x.dims();
        let x = x
            .reshape([batch, channels, height, 1, width, 1])
            .expand([batch, channels, height, 2, width, 2])
            .reshape([batch, channels, 2 * height, 2 * width]);
        self.resample_1.forward(x)
    }
}
