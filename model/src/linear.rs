//! Linear layers and embeddings over weights in their file's format.

use backends::{Activation, Fp8Ops, Weight};
use burn::module::{Module, Param};
use burn::tensor::backend::Backend;
use burn::tensor::{FloatDType, Int, Tensor};

/// `y = x · weightᵀ + bias`.
#[derive(Module, Debug)]
pub struct Linear<B: Backend> {
    /// `[out, in]`.
    pub weight: Weight<B>,
    /// f32 `[out]`.
    pub bias: Option<Param<Tensor<B, 1>>>,
}

impl<B: Fp8Ops> Linear<B> {
    /// Float `[.., in]` to `[.., out]`, in the input's dtype.
    pub fn forward<const D: usize>(&self, x: Tensor<B, D>) -> Tensor<B, D> {
        self.weight.linear(x, self.bias.as_ref(), Activation::None)
    }

    /// As [`forward`](Self::forward), with the tanh form of GELU on the result.
    pub fn forward_gelu<const D: usize>(&self, x: Tensor<B, D>) -> Tensor<B, D> {
        self.weight
            .linear(x, self.bias.as_ref(), Activation::GeluTanh)
    }
}

/// A table of vectors.
#[derive(Module, Debug)]
pub struct Embedding<B: Backend> {
    /// `[rows, channels]`.
    pub weight: Weight<B>,
}

impl<B: Fp8Ops> Embedding<B> {
    /// The vectors of `ids` (int `[n]`) as `dtype` `[n, channels]`.
    pub fn forward(&self, ids: Tensor<B, 1, Int>, dtype: FloatDType) -> Tensor<B, 2> {
        self.weight.rows(ids, dtype)
    }
}
