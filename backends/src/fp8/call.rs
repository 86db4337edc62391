//! Linear layers as values, so that several can be asked for at once.

use burn::tensor::backend::Backend;
use burn::tensor::ops::{FloatTensor, IntTensor};

use super::codec::Fp8Format;
use super::ops::{Epilogue, Fp8Ops, RoundedRows};

/// A linear layer with its input `[rows, in]`, to be computed.
#[derive(Clone, Debug)]
pub enum LinearCall<B: Backend> {
    /// See [`Fp8Ops::dense_linear`].
    Dense {
        /// Float `[rows, in]`.
        x: FloatTensor<B>,
        /// Float `[out, in]`.
        weight: FloatTensor<B>,
        /// What follows the product.
        epilogue: Epilogue<B>,
    },
    /// See [`Fp8Ops::fp8_linear`].
    Fp8 {
        /// Float `[rows, in]`.
        x: FloatTensor<B>,
        /// What it is multiplied with.
        weight: Fp8Codes<B>,
        /// What follows the product.
        epilogue: Epilogue<B>,
    },
    /// See [`Fp8Ops::round_rows`] and [`Fp8Ops::fp8_linear_rounded`].
    Rounding {
        /// Float `[rows, in]`.
        x: FloatTensor<B>,
        /// What it is multiplied with, once it is rounded.
        weight: Fp8Codes<B>,
        /// What follows the product.
        epilogue: Epilogue<B>,
    },
    /// See [`Fp8Ops::fp8_linear_rounded`].
    Rounded {
        /// `[rows, in]`.
        x: RoundedRows<B>,
        /// What they are multiplied with.
        weight: Fp8Codes<B>,
        /// What follows the product.
        epilogue: Epilogue<B>,
    },
}

/// A weight's FP8 codes.
#[derive(Clone, Debug)]
pub struct Fp8Codes<B: Backend> {
    /// U8 `[out, in]`.
    pub codes: IntTensor<B>,
    /// f32 `[1]`.
    pub scale: FloatTensor<B>,
    /// What the codes mean.
    pub format: Fp8Format,
}

impl<B: Fp8Ops> LinearCall<B> {
    /// Float `[rows, out]`, in the dtype of the input.
    pub fn compute(self) -> FloatTensor<B> {
        match self {
            Self::Dense {
                x,
                weight,
                epilogue,
            } => B::dense_linear(x, weight, epilogue),
            Self::Fp8 {
                x,
                weight,
                epilogue,
            } => B::fp8_linear(x, weight.codes, weight.scale, weight.format, epilogue),
            Self::Rounding {
                x,
                weight,
                epilogue,
            } => {
                let x = B::round_rows(x);
                B::fp8_linear_rounded(x, weight.codes, weight.scale, weight.format, epilogue)
            }
            Self::Rounded {
                x,
                weight,
                epilogue,
            } => B::fp8_linear_rounded(x, weight.codes, weight.scale, weight.format, epilogue),
        }
    }
}
