//! Activations as linear layers read them.

use burn::tensor::Tensor;
use burn::tensor::backend::Backend;

use super::quantize::{quantize_rows, scaled_rows};
use crate::kernels::{Activations, Kernels, QuantizedRows};

impl<B: Backend> Activations<B> {
    /// The rows `[rows, channels]` of a float tensor whose last dimension has the channels.
    pub fn of<const D: usize>(x: Tensor<B, D>) -> Self {
        let shape = x.dims();
        let rows = shape[..D - 1].iter().product::<usize>();
        Self::Float(x.reshape([rows, shape[D - 1]]))
    }
}

impl<B: Kernels> Activations<B> {
    /// The rows as float `[rows, channels]`; quantized rows are dequantized.
    pub fn float(self) -> Tensor<B, 2> {
        match self {
            Self::Float(x) => x,
            Self::Quantized(rows) => scaled_rows(B::decode_rows(rows)),
        }
    }

    /// The same rows, quantized if they are not yet.
    pub fn quantized(self) -> QuantizedRows<B> {
        match self {
            Self::Float(x) => quantize_rows(x),
            Self::Quantized(rows) => rows,
        }
    }

    /// The same rows, quantized if `quantize` says so.
    pub(super) fn quantized_if(self, quantize: bool) -> Self {
        match quantize {
            true => Self::Quantized(self.quantized()),
            false => self,
        }
    }
}
