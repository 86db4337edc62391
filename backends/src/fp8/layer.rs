//! Linear layers and what they take, as values, so that several can be asked for at once.

use burn::tensor::backend::Backend;
use burn::tensor::ops::{FloatTensor, IntTensor};
use burn::tensor::{Tensor, TensorPrimitive};

use super::codec::Fp8Format;
use super::ops::{Activation, Epilogue, Fp8Ops, RoundedRows};
use crate::low_rank::LowRank;

/// A linear layer: `activation(x · weightᵀ + bias + adapter(x))`.
#[derive(Clone, Debug)]
pub struct Layer<B: Backend> {
    /// What `x` is multiplied with.
    pub weight: LayerWeight<B>,
    /// Float `[out]`.
    pub bias: Option<FloatTensor<B>>,
    /// What adapters add, from `in` to `out` features.
    pub adapter: Option<LowRank<B>>,
    /// The last to be applied.
    pub activation: Activation,
}

/// The weight of a layer.
#[derive(Clone, Debug)]
pub enum LayerWeight<B: Backend> {
    /// Float `[out, in]`; see [`Fp8Ops::dense_linear`].
    Dense(FloatTensor<B>),
    /// Codes, for activations as they are; see [`Fp8Ops::fp8_linear`].
    Fp8(Fp8Codes<B>),
    /// Codes, for activations that are rounded; see [`Fp8Ops::fp8_linear_rounded`].
    Rounding(Fp8Codes<B>),
}

/// A weight's FP8 codes.
#[derive(Clone, Debug)]
pub struct Fp8Codes<B: Backend> {
    /// U8 `[out, in]`.
    pub codes: IntTensor<B>,
    /// f32 `[1]`, or `[out]` with one for each row.
    pub scale: FloatTensor<B>,
    /// What the codes mean.
    pub format: Fp8Format,
}

/// What layers take.
#[derive(Clone, Debug)]
pub enum Activations<B: Backend> {
    /// Float `[rows, channels]`.
    Exact(FloatTensor<B>),
    /// `[rows, channels]`, rounded to FP8 once for all layers that take them.
    Rounded(RoundedRows<B>),
}

impl<B: Backend> Layer<B> {
    /// Whether the layer needs nothing but rounded activations.
    pub fn takes_rounded(&self) -> bool {
        // An adapter needs what was rounded.
        matches!(self.weight, LayerWeight::Rounding(_)) && self.adapter.is_none()
    }
}

impl<B: Fp8Ops> Layer<B> {
    /// Float `[rows, out]`, in the dtype of what the activations are, or were.
    ///
    /// # Panics
    /// If they are rounded, and the layer does not [take](Self::takes_rounded) that.
    pub fn compute(self, x: Activations<B>) -> FloatTensor<B> {
        let addend = self.adapter.map(|adapter| {
            let x = TensorPrimitive::Float(x.clone().exact());
            let x = Tensor::<B, 2>::from_primitive(x);
            adapter.forward(x).into_primitive().tensor()
        });
        let epilogue = Epilogue {
            bias: self.bias,
            addend,
            activation: self.activation,
        };
        self.weight.multiply(x, epilogue)
    }
}

impl<B: Fp8Ops> LayerWeight<B> {
    /// `epilogue(x · weightᵀ)`, float `[rows, out]` in the dtype of what the activations are, or were.
    ///
    /// # Panics
    /// If they are rounded, and the weight is for activations as they are.
    pub fn multiply(self, x: Activations<B>, epilogue: Epilogue<B>) -> FloatTensor<B> {
        match self {
            Self::Dense(weight) => B::dense_linear(x.exact(), weight, epilogue),
            Self::Fp8(weight) => {
                let x = x.exact();
                B::fp8_linear(x, weight.codes, weight.scale, weight.format, epilogue)
            }
            Self::Rounding(weight) => {
                let x = x.rounded();
                B::fp8_linear_rounded(x, weight.codes, weight.scale, weight.format, epilogue)
            }
        }
    }
}

impl<B: Backend> Activations<B> {
    /// Float `[rows, channels]`.
    ///
    /// # Panics
    /// If they are rounded.
    fn exact(self) -> FloatTensor<B> {
        match self {
            Self::Exact(x) => x,
            Self::Rounded(_) => panic!("a layer that takes exact activations got rounded ones"),
        }
    }
}

impl<B: Fp8Ops> Activations<B> {
    /// The same, rounded if they are not yet.
    pub fn rounded(self) -> RoundedRows<B> {
        match self {
            Self::Exact(x) => B::round_rows(x),
            Self::Rounded(rows) => rows,
        }
    }
}
