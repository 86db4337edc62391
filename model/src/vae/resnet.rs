//! Residual blocks.

use backends::ModelBackend;
use burn::module::Module;
use burn::tensor::Tensor;
use burn::tensor::backend::Backend;

use super::conv::Conv;
use super::norm::ChannelNorm;
use super::stages::{Step, StepKind};
use crate::builder::Builder;

/// Two convolutions, each after a norm and SiLU, beside a short cut.
#[derive(Module, Debug)]
pub struct ResidualBlock<B: Backend> {
    /// The norm before the first convolution.
    pub norm1: ChannelNorm<B>,
    /// The convolution to the output's channels.
    pub conv1: Conv<B>,
    /// The norm before the second convolution.
    pub norm2: ChannelNorm<B>,
    /// The convolution within the output's channels.
    pub conv2: Conv<B>,
    /// The short cut's convolution, if the number of channels changes.
    pub conv_shortcut: Option<Conv<B>>,
}

impl<B: Backend> ResidualBlock<B> {
    /// A block whose parameters wait for a loader.
    pub fn uninitialized(input: usize, output: usize, at: &Builder<B>) -> Self {
        Self {
            norm1: ChannelNorm::uninitialized(input, &at.at("norm1")),
            conv1: Conv::spatial(input, output, &at.at("conv1")),
            norm2: ChannelNorm::uninitialized(output, &at.at("norm2")),
            conv2: Conv::spatial(output, output, &at.at("conv2")),
            conv_shortcut: (input != output)
                .then(|| Conv::pointwise(input, output, &at.at("conv_shortcut"))),
        }
    }

    /// The shape of this step, from which tiles and memory are planned.
    pub(crate) fn step(&self) -> Step {
        Step {
            kind: StepKind::Residual,
            input: self.conv1.channels()[1],
            output: self.conv2.channels()[0],
            margin: self.conv1.margin() + self.conv2.margin(),
        }
    }
}

impl<B: ModelBackend> ResidualBlock<B> {
    /// f32 `[batch, in, height, width]` to `[batch, out, height, width]`.
    pub fn forward(&self, x: Tensor<B, 4>) -> Tensor<B, 4> {
        let y = self.conv1.forward(self.norm1.forward_silu(x.clone()));
        let y = self.conv2.forward(self.norm2.forward_silu(y));
        match &self.conv_shortcut {
            Some(shortcut) => shortcut.forward(x) + y,
            None => x + y,
        }
    }
}
