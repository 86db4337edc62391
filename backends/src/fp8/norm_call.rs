//! Layer norms as values, so that two can be asked for at once.

use burn::tensor::backend::Backend;
use burn::tensor::ops::FloatTensor;

use super::ops::{Fp8Ops, RoundedRows};
use super::rounding::round_tokens;

/// A modulated layer norm with its input, to be computed.
#[derive(Clone, Debug)]
pub struct NormCall<B: Backend> {
    /// Float `[batch, tokens, channels]`.
    pub x: FloatTensor<B>,
    /// What is added to it before, of its shape, and its gate, `[batch, 1, channels]`.
    pub update: Option<[FloatTensor<B>; 2]>,
    /// Float `[batch, 1, channels]`, added to the normalised tokens.
    pub shift: FloatTensor<B>,
    /// Float `[batch, 1, channels]`; `1 + scale` multiplies them before.
    pub scale: FloatTensor<B>,
    /// Added to the variance.
    pub epsilon: f64,
    /// Whether they are rounded to FP8, token by token.
    pub rounded: bool,
}

/// What a norm gives.
#[derive(Clone, Debug)]
pub struct NormResult<B: Backend> {
    /// The input with its update.
    pub sum: FloatTensor<B>,
    /// Its normalised tokens.
    pub normed: Normed<B>,
}

/// Normalised tokens.
#[derive(Clone, Debug)]
pub enum Normed<B: Backend> {
    /// Float `[batch, tokens, channels]`.
    Exact(FloatTensor<B>),
    /// `[batch * tokens, channels]`.
    Rounded(RoundedRows<B>),
}

impl<B: Fp8Ops> NormCall<B> {
    /// See [`modulated_layer_norm`](crate::fused::modulated_layer_norm) and
    /// [`gated_add_layer_norm`](crate::fused::gated_add_layer_norm).
    pub fn compute(self) -> NormResult<B> {
        let Self {
            x,
            update,
            shift,
            scale,
            epsilon,
            rounded,
        } = self;
        let (sum, y) = match update {
            None => {
                let y = B::modulated_layer_norm(x.clone(), shift, scale, epsilon);
                (x, y)
            }
            Some([output, gate]) => B::gated_add_layer_norm(x, output, gate, shift, scale, epsilon),
        };
        let normed = match rounded {
            false => Normed::Exact(y),
            true => Normed::Rounded(round_tokens(y)),
        };
        NormResult { sum, normed }
    }
}
