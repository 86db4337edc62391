//! Layer norms as values, so that they can be asked for with what follows.

use burn::tensor::backend::Backend;
use burn::tensor::ops::FloatTensor;

use super::ops::Fp8Ops;
use super::portable::float;
use super::stream_call::ChainCall;

/// A modulated layer norm with its input, to be computed.
#[derive(Clone, Debug)]
pub struct NormCall<B: Backend> {
    /// Float `[batch, tokens, channels]`.
    pub x: FloatTensor<B>,
    /// What is added to it before.
    pub update: Option<Update<B>>,
    /// Float `[batch, 1, channels]`, added to the normalised tokens.
    pub shift: FloatTensor<B>,
    /// Float `[batch, 1, channels]`; `1 + scale` multiplies them before.
    pub scale: FloatTensor<B>,
    /// Added to the variance.
    pub epsilon: f64,
}

/// What is added to a stream.
#[derive(Clone, Debug)]
pub struct Update<B: Backend> {
    /// What multiplies the output, float `[batch, 1, channels]`.
    pub gate: FloatTensor<B>,
    /// Of the stream's shape.
    pub output: Output<B>,
}

/// What a sub-layer gives.
#[derive(Clone, Debug)]
pub enum Output<B: Backend> {
    /// Float `[batch, tokens, channels]`.
    Known(FloatTensor<B>),
    /// What layers will give, `[batch * tokens, channels]`.
    Of(ChainCall<B>),
}

impl<B: Fp8Ops> Output<B> {
    /// Float `[batch, tokens, channels]` of this shape.
    pub fn compute(self, shape: [usize; 3]) -> FloatTensor<B> {
        match self {
            Self::Known(output) => output,
            Self::Of(call) => {
                let output = float::<B, 2>(call.compute()).reshape(shape);
                output.into_primitive().tensor()
            }
        }
    }
}

impl<B: Fp8Ops> NormCall<B> {
    /// The input with its update, and its normalised tokens. See
    /// [`modulated_layer_norm`](crate::fused::modulated_layer_norm) and
    /// [`gated_add_layer_norm`](crate::fused::gated_add_layer_norm).
    pub fn compute(self) -> [FloatTensor<B>; 2] {
        let Self {
            x,
            update,
            shift,
            scale,
            epsilon,
        } = self;
        match update {
            None => {
                let y = B::modulated_layer_norm(x.clone(), shift, scale, epsilon);
                [x, y]
            }
            Some(Update { gate, output }) => {
                let x = float::<B, 3>(x);
                let output = output.compute(x.dims());
                let x = x.into_primitive().tensor();
                let (sum, y) = B::gated_add_layer_norm(x, output, gate, shift, scale, epsilon);
                [sum, y]
            }
        }
    }
}
