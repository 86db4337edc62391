//! Linear layers and what they take, as values, so that several can be asked for at once.

use burn::tensor::Tensor;
use burn::tensor::backend::Backend;

use super::linear::{dense_linear, fp8_linear, quantize_rows, quantized_linear};
use crate::kernels::{
    Activation, Activations, DenseLinear, Epilogue, Fp8Codes, Fp8Linear, Kernels, QuantizedLinear,
    QuantizedRows,
};
use crate::low_rank::LowRank;

/// A linear layer: `activation(x · weightᵀ + bias + adapter(x))`.
#[derive(Clone, Debug)]
pub struct Layer<B: Backend> {
    /// What `x` is multiplied with.
    pub weight: LayerWeight<B>,
    /// Float `[out]`.
    pub bias: Option<Tensor<B, 1>>,
    /// What adapters add, from `in` to `out` features.
    pub adapter: Option<LowRank<B>>,
    /// The last to be applied.
    pub activation: Activation,
}

/// The weight of a layer.
#[derive(Clone, Debug)]
pub enum LayerWeight<B: Backend> {
    /// Float `[out, in]`; see [`DenseLinear`].
    Dense(Tensor<B, 2>),
    /// Codes, for activations as they are; see [`Fp8Linear`].
    Fp8(Fp8Codes<B>),
    /// Codes, for activations that are rounded; see [`QuantizedLinear`].
    Rounding(Fp8Codes<B>),
}

impl<B: Backend> Layer<B> {
    /// Whether the layer needs nothing but rounded activations.
    pub fn takes_rounded(&self) -> bool {
        // An adapter needs what was rounded.
        matches!(self.weight, LayerWeight::Rounding(_)) && self.adapter.is_none()
    }
}

impl<B: Kernels> Layer<B> {
    /// Float `[rows, out]`, in the dtype of what the activations are, or were.
    ///
    /// # Panics
    /// If they are rounded, and the layer does not [take](Self::takes_rounded) that.
    pub fn compute(self, x: Activations<B>) -> Tensor<B, 2> {
        let addend = self
            .adapter
            .map(|adapter| adapter.forward(x.clone().exact()));
        let epilogue = Epilogue {
            bias: self.bias,
            addend,
            activation: self.activation,
        };
        self.weight.multiply(x, epilogue)
    }
}

impl<B: Kernels> LayerWeight<B> {
    /// `epilogue(x · weightᵀ)`, float `[rows, out]` in the dtype of what the activations are, or were.
    ///
    /// # Panics
    /// If they are rounded, and the weight is for activations as they are.
    pub fn multiply(self, x: Activations<B>, epilogue: Epilogue<B>) -> Tensor<B, 2> {
        match self {
            Self::Dense(weight) => dense_linear(DenseLinear {
                x: x.exact(),
                weight,
                epilogue,
            }),
            Self::Fp8(weight) => fp8_linear(Fp8Linear {
                x: x.exact(),
                weight,
                epilogue,
            }),
            Self::Rounding(weight) => quantized_linear(QuantizedLinear {
                x: x.quantized(),
                weight,
                epilogue,
            }),
        }
    }
}

impl<B: Backend> Activations<B> {
    /// Float `[rows, channels]`.
    ///
    /// # Panics
    /// If they are rounded.
    fn exact(self) -> Tensor<B, 2> {
        match self {
            Self::Float(x) => x,
            Self::Quantized(_) => panic!("a layer that takes exact activations got quantized ones"),
        }
    }
}

impl<B: Kernels> Activations<B> {
    /// The same, quantized if they are not yet.
    pub fn quantized(self) -> QuantizedRows<B> {
        match self {
            Self::Float(x) => quantize_rows(x),
            Self::Quantized(rows) => rows,
        }
    }
}
