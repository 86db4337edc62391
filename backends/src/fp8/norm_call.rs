//! Layer norms as values, so that they can be asked for with what follows.

use burn::tensor::Tensor;
use burn::tensor::backend::Backend;

use super::stream_call::ChainCall;
use crate::fused::{gated_add_layer_norm, modulated_layer_norm};
use crate::kernels::{GatedAdd, GatedAddLayerNorm, Kernels};

/// A modulated layer norm with its input, to be computed.
#[derive(Clone, Debug)]
pub struct NormCall<B: Backend> {
    /// Float `[batch, tokens, channels]`.
    pub x: Tensor<B, 3>,
    /// What is added to it before.
    pub update: Option<Update<B>>,
    /// Float `[batch, 1, channels]`, added to the normalised tokens.
    pub shift: Tensor<B, 3>,
    /// Float `[batch, 1, channels]`; `1 + scale` multiplies them before.
    pub scale: Tensor<B, 3>,
    /// Added to the variance.
    pub epsilon: f64,
}

/// What is added to a stream.
#[derive(Clone, Debug)]
pub struct Update<B: Backend> {
    /// What multiplies the output, float `[batch, 1, channels]`.
    pub gate: Tensor<B, 3>,
    /// Of the stream's shape.
    pub output: Output<B>,
}

/// What a sub-layer gives.
#[derive(Clone, Debug)]
pub enum Output<B: Backend> {
    /// Float `[batch, tokens, channels]`.
    Known(Tensor<B, 3>),
    /// What layers will give, `[batch * tokens, channels]`.
    Of(ChainCall<B>),
}

impl<B: Kernels> Output<B> {
    /// Float `[batch, tokens, channels]` of this shape.
    pub fn compute(self, shape: [usize; 3]) -> Tensor<B, 3> {
        match self {
            Self::Known(output) => output,
            Self::Of(call) => call.compute().reshape(shape),
        }
    }
}

impl<B: Kernels> NormCall<B> {
    /// The input with its update, and its normalised tokens. See
    /// [`modulated_layer_norm`](crate::fused::modulated_layer_norm) and
    /// [`gated_add_layer_norm`](crate::fused::gated_add_layer_norm).
    pub fn compute(self) -> [Tensor<B, 3>; 2] {
        let Self {
            x,
            update,
            shift,
            scale,
            epsilon,
        } = self;
        match update {
            None => {
                let y = modulated_layer_norm(x.clone(), shift, scale, epsilon);
                [x, y]
            }
            Some(Update { gate, output }) => {
                let output = output.compute(x.dims());
                gated_add_layer_norm(GatedAddLayerNorm {
                    sum: GatedAdd {
                        residual: x,
                        x: output,
                        gate,
                    },
                    shift,
                    scale,
                    epsilon,
                })
            }
        }
    }
}
