//! Products with weights in their file's format, each by the backend's kernel where it has one,
//! else by Burn's own operations.

use burn::tensor::{Tensor, TensorPrimitive};

use super::portable;
use crate::fp8::quantize;
use crate::kernels::{
    DenseLinear, DenseRows, Epilogue, Kernels, PackedLinear, PackedRows, QuantizedLinear,
    QuantizedRows,
};

/// Computes [`DenseLinear`], float `[rows, out]`.
pub(crate) fn dense_linear<B: Kernels>(call: DenseLinear<B>) -> Tensor<B, 2> {
    B::dense_linear(call).unwrap_or_else(portable::dense_linear)
}

/// Computes [`PackedLinear`], float `[rows, out]`.
pub(crate) fn packed_linear<B: Kernels>(call: PackedLinear<B>) -> Tensor<B, 2> {
    B::packed_linear(call).unwrap_or_else(portable::packed_linear)
}

/// Computes [`QuantizedLinear`], float `[rows, out]`.
pub(crate) fn quantized_linear<B: Kernels>(call: QuantizedLinear<B>) -> Tensor<B, 2> {
    B::quantized_linear(call).unwrap_or_else(|call| {
        let rows = B::decode_rows(call.x);
        let y = packed_linear(PackedLinear {
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

/// Computes [`PackedRows`], `[n, in]`.
pub(crate) fn packed_rows<B: Kernels>(call: PackedRows<B>) -> Tensor<B, 2> {
    B::packed_rows(call).unwrap_or_else(portable::packed_rows)
}
