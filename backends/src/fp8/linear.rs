//! Products with weights in their file's format, each by the backend's kernel where it has one,
//! else by Burn's own operations.

use burn::tensor::{Tensor, TensorPrimitive};

use super::{portable, quantize};
use crate::kernels::{
    DenseLinear, DenseRows, Epilogue, Fp8Linear, Fp8Rows, Kernels, QuantizeRows, QuantizedLinear,
    QuantizedRows,
};

/// Computes [`DenseLinear`], float `[rows, out]`.
pub(crate) fn dense_linear<B: Kernels>(call: DenseLinear<B>) -> Tensor<B, 2> {
    B::dense_linear(call).unwrap_or_else(portable::dense_linear)
}

/// Computes [`Fp8Linear`], float `[rows, out]`.
pub(crate) fn fp8_linear<B: Kernels>(call: Fp8Linear<B>) -> Tensor<B, 2> {
    B::fp8_linear(call).unwrap_or_else(portable::fp8_linear)
}

/// Computes [`QuantizeRows`].
pub(crate) fn quantize_rows<B: Kernels>(x: Tensor<B, 2>) -> QuantizedRows<B> {
    B::quantize_rows(QuantizeRows { x }).unwrap_or_else(quantize::quantize_rows)
}

/// Computes [`QuantizedLinear`], float `[rows, out]`.
pub(crate) fn quantized_linear<B: Kernels>(call: QuantizedLinear<B>) -> Tensor<B, 2> {
    B::quantized_linear(call).unwrap_or_else(|call| {
        let rows = B::decode_rows(call.x);
        let y = fp8_linear(Fp8Linear {
            x: Tensor::from_primitive(TensorPrimitive::Float(rows.values)),
            weight: call.weight,
            epilogue: Epilogue::NONE,
        });
        let y = quantize::scaled_rows(QuantizedRows {
            values: y.into_primitive().tensor(),
            ..rows
        });
        portable::finish(y, call.epilogue)
    })
}

/// Computes [`DenseRows`], `[n, in]`.
pub(crate) fn dense_rows<B: Kernels>(call: DenseRows<B>) -> Tensor<B, 2> {
    B::dense_rows(call).unwrap_or_else(portable::dense_rows)
}

/// Computes [`Fp8Rows`], `[n, in]`.
pub(crate) fn fp8_rows<B: Kernels>(call: Fp8Rows<B>) -> Tensor<B, 2> {
    B::fp8_rows(call).unwrap_or_else(portable::fp8_rows)
}
