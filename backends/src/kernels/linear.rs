//! Linear layers and embeddings on weights in their file's format.
//!
//! FP8 weights are decoded exactly (each code is exact in bf16 and f32), and the scale of the
//! tensor, or of each of its rows, multiplies the result, not the weight.

use burn::tensor::backend::Backend;
use burn::tensor::ops::FloatTensor;
use burn::tensor::{FloatDType, Int, Tensor};

use crate::weight::PackedFormat;

/// The activation function of a linear layer, element by element.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    /// Nothing.
    None,
    /// [`GeluTanh`](super::GeluTanh).
    GeluTanh,
}

/// The end of a linear layer: `activation(product + bias + addend)`, rounded to the result's dtype
/// at the end, or at each step.
#[derive(Clone, Debug)]
pub struct Epilogue<B: Backend> {
    /// Float `[out]`.
    pub bias: Option<Tensor<B, 1>>,
    /// Float `[rows, out]`, in the dtype of the result.
    pub addend: Option<Tensor<B, 2>>,
    /// The last to be applied.
    pub activation: Activation,
}

impl<B: Backend> Epilogue<B> {
    /// Nothing.
    pub const NONE: Self = Self {
        bias: None,
        addend: None,
        activation: Activation::None,
    };
}

/// `epilogue(x · weightᵀ)` for a weight in any float dtype, in the dtype of `x`.
#[derive(Clone, Debug)]
pub struct DenseLinear<B: Backend> {
    /// Float `[rows, in]`.
    pub x: Tensor<B, 2>,
    /// Float `[out, in]`.
    pub weight: Tensor<B, 2>,
    /// The end of the layer.
    pub epilogue: Epilogue<B>,
}

/// A packed weight `[out, in]`: `unpack(bytes) * scale`.
#[derive(Clone, Debug)]
pub struct PackedMatrix<B: Backend> {
    /// U8 `[out, bytes of a row]`.
    pub bytes: Tensor<B, 2, Int>,
    /// f32 `[1]`, or `[out]` with one for each row.
    pub scale: Tensor<B, 1>,
    /// The format of the bytes.
    pub format: PackedFormat,
}

/// `epilogue((x · unpack(weight)ᵀ) * scale)`, in the dtype of `x`.
#[derive(Clone, Debug)]
pub struct PackedLinear<B: Backend> {
    /// Float `[rows, in]`.
    pub x: Tensor<B, 2>,
    /// The weight.
    pub weight: PackedMatrix<B>,
    /// The end of the layer.
    pub epilogue: Epilogue<B>,
}

/// Each row of `x` quantized to E4M3: divided by its scale, which is its largest magnitude over
/// 448 (1 for a row of zeros), and rounded to the nearest code, ties to even.
#[derive(Clone, Debug)]
pub struct QuantizeRows<B: Backend> {
    /// Float `[rows, in]`.
    pub x: Tensor<B, 2>,
}

/// Rows `[rows, in]` of activations quantized to E4M3, each divided by a scale of its own, as the
/// backend that made them keeps them.
#[derive(Clone, Debug)]
pub struct QuantizedRows<B: Backend> {
    /// Numbers of the format, or their codes.
    pub(crate) values: FloatTensor<B>,
    /// f32, one for each row.
    pub(crate) scales: FloatTensor<B>,
    /// The activations' dtype.
    pub(crate) dtype: FloatDType,
}

/// The input of linear layers.
#[derive(Clone, Debug)]
pub enum Activations<B: Backend> {
    /// Float `[rows, channels]`.
    Float(Tensor<B, 2>),
    /// `[rows, channels]`, quantized to FP8 once for all layers that take them.
    Quantized(QuantizedRows<B>),
}

/// [`PackedLinear`] of quantized rows, whose scales multiply the product too; in the dtype that the
/// rows had.
#[derive(Clone, Debug)]
pub struct QuantizedLinear<B: Backend> {
    /// The rows.
    pub x: QuantizedRows<B>,
    /// The weight, FP8.
    pub weight: PackedMatrix<B>,
    /// The end of the layer.
    pub epilogue: Epilogue<B>,
}

/// The rows of an embedding in any float dtype that `indices` name.
#[derive(Clone, Debug)]
pub struct DenseRows<B: Backend> {
    /// Float `[out, in]`.
    pub weight: Tensor<B, 2>,
    /// Int `[n]`, each below `out`.
    pub indices: Tensor<B, 1, Int>,
    /// The dtype of the result.
    pub dtype: FloatDType,
}

/// The rows of a packed embedding that `indices` name: `unpack(bytes) * scale`.
#[derive(Clone, Debug)]
pub struct PackedRows<B: Backend> {
    /// The weight.
    pub weight: PackedMatrix<B>,
    /// Int `[n]`, each below `out`.
    pub indices: Tensor<B, 1, Int>,
    /// The dtype of the result.
    pub dtype: FloatDType,
}
