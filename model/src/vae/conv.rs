//! Convolutions that keep the image's size.

use backends::Kernels;
use backends::fused::conv_same;
use burn::module::{Module, Param};
use burn::tensor::Tensor;
use burn::tensor::backend::Backend;

use crate::builder::Builder;

/// A 2-D convolution with stride 1, padded with zeros to keep the size.
#[derive(Module, Debug)]
pub struct Conv<B: Backend> {
    /// f32 `[out, in, side, side]`.
    pub weight: Param<Tensor<B, 4>>,
    /// f32 `[out]`.
    pub bias: Param<Tensor<B, 1>>,
}

impl<B: Backend> Conv<B> {
    /// A 3 x 3 convolution.
    pub fn spatial(input: usize, output: usize, at: &Builder<B>) -> Self {
        Self::uninitialized(input, output, 3, at)
    }

    /// A 1 x 1 convolution: a linear map of the channels.
    pub fn pointwise(input: usize, output: usize, at: &Builder<B>) -> Self {
        Self::uninitialized(input, output, 1, at)
    }

    fn uninitialized(input: usize, output: usize, side: usize, at: &Builder<B>) -> Self {
        Self {
            weight: at.parameter("weight", [output, input, side, side]),
            bias: at.parameter("bias", [output]),
        }
    }

    /// The numbers of output and input channels.
    pub(crate) fn channels(&self) -> [usize; 2] {
        let [output, input, ..]: [usize; 4] = self.weight.lazy_shape().dims();
        [output, input]
    }

    /// The largest distance, in pixels, over which an input pixel affects an output pixel.
    pub(crate) fn margin(&self) -> usize {
        self.weight.lazy_shape()[2] / 2
    }

    /// f32 `[batch, in, height, width]` to `[batch, out, height, width]`.
    pub fn forward(&self, x: Tensor<B, 4>) -> Tensor<B, 4>
    where
        B: Kernels,
    {
        conv_same(x, self.weight.val(), self.bias.val())
    }
}
