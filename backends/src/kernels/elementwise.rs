//! Operations on elements.

use burn::tensor::Tensor;
use burn::tensor::backend::Backend;

/// The tanh form of GELU: `0.5 x (1 + tanh(sqrt(2/π) (x + 0.044715 x³)))` (Hendrycks & Gimpel).
#[derive(Clone, Debug)]
pub struct GeluTanh<B: Backend, const D: usize> {
    /// Float.
    pub x: Tensor<B, D>,
}

/// `silu(gate) * up`, the inner product of a SwiGLU feed-forward.
#[derive(Clone, Debug)]
pub struct SiluMul<B: Backend, const D: usize> {
    /// Float.
    pub gate: Tensor<B, D>,
    /// Float, in the shape of `gate`.
    pub up: Tensor<B, D>,
}

/// `residual + x * gate`.
#[derive(Clone, Debug)]
pub struct GatedAdd<B: Backend> {
    /// Float `[batch, tokens, channels]`.
    pub residual: Tensor<B, 3>,
    /// Float `[batch, tokens, channels]`.
    pub x: Tensor<B, 3>,
    /// Float `[batch, 1, channels]`.
    pub gate: Tensor<B, 3>,
}

/// Float tensors one after the other along a dimension, in which alone they may differ.
#[derive(Clone, Debug)]
pub struct Concatenate<B: Backend, const D: usize> {
    /// At least one.
    pub parts: Vec<Tensor<B, D>>,
    /// The dimension.
    pub dim: usize,
}
