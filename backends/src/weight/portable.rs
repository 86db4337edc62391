//! The linear layers as compositions of Burn's own operations, for every backend.

use std::ops::Range;

use burn::tensor::backend::Backend;
use burn::tensor::{DType, FloatDType, Int, IntDType, Tensor, TensorData};

use super::PackedFormat;
use crate::fp8::Fp8Format;
use crate::fused::gelu_tanh;
use crate::kernels::{
    Activation, DenseLinear, DenseRows, Epilogue, Kernels, PackedLinear, PackedMatrix, PackedRows,
};

/// Weight elements decoded at a time: 64 MiB as `f32`.
const DECODE_CHUNK: usize = 16 << 20;

/// How many rows of a weight of `width` input features are decoded at a time.
pub(crate) fn rows_at_once(width: usize) -> usize {
    (DECODE_CHUNK / width.max(1)).max(1)
}

pub(super) fn packed_linear<B: Kernels>(call: PackedLinear<B>) -> Tensor<B, 2> {
    let PackedMatrix {
        bytes,
        scale,
        format,
    } = call.weight;
    let [out, row_bytes] = bytes.dims();
    let decode = |rows: Range<usize>, dtype| {
        let rows = bytes.clone().narrow(0, rows.start, rows.len());
        unpack(rows, format).cast(dtype)
    };
    let shape = [out, format.row_elements(row_bytes)];
    decoded_linear(call.x, shape, decode, Some(scale), call.epilogue)
}

/// Computes `epilogue((x · weightᵀ) * scale)` for a weight `[out, in]` of which
/// `decode(rows, dtype)` gives some rows; never more of it is in memory than a chunk.
pub(crate) fn decoded_linear<B: Kernels>(
    x: Tensor<B, 2>,
    [out, width]: [usize; 2],
    decode: impl Fn(Range<usize>, FloatDType) -> Tensor<B, 2>,
    scale: Option<Tensor<B, 1>>,
    epilogue: Epilogue<B>,
) -> Tensor<B, 2> {
    let dtype: FloatDType = x.dtype().into();
    let rows_at_once = rows_at_once(width);
    let products = (0..out)
        .step_by(rows_at_once)
        .map(|start| {
            let rows = start..out.min(start + rows_at_once);
            B::burns_matmul(x.clone(), decode(rows, dtype).transpose())
        })
        .collect();
    let y = Tensor::cat(products, 1);
    let y = match scale {
        Some(scale) => scaled(y, scale, dtype),
        None => y,
    };
    finish(y, epilogue)
}

/// Computes `x * scale` in f32, rounded to `dtype`.
///
/// * `x`: float `[rows, width]`.
/// * `scale`: f32 `[1]`, or `[width]` with one for each column.
pub(super) fn scaled<B: Backend>(
    x: Tensor<B, 2>,
    scale: Tensor<B, 1>,
    dtype: FloatDType,
) -> Tensor<B, 2> {
    let y = x.cast(FloatDType::F32) * scale.unsqueeze::<2>();
    y.cast(dtype)
}

pub(super) fn packed_rows<B: Backend>(call: PackedRows<B>) -> Tensor<B, 2> {
    let PackedMatrix {
        bytes,
        scale,
        format,
    } = call.weight;
    let bytes = bytes.select(0, call.indices.clone());
    scaled_rows(unpack(bytes, format), scale, call.indices, call.dtype)
}

/// Computes `x * scale` for rows of a weight in f32, rounded to `dtype`.
///
/// * `x`: float `[n, width]`, the rows that `indices` name.
/// * `scale`: f32 `[1]`, or one for each row of the weight.
pub(crate) fn scaled_rows<B: Backend>(
    x: Tensor<B, 2>,
    scale: Tensor<B, 1>,
    indices: Tensor<B, 1, Int>,
    dtype: FloatDType,
) -> Tensor<B, 2> {
    let scale = match scale.dims() {
        [1] => scale.unsqueeze::<2>(),
        _ => scale.select(0, indices).unsqueeze_dim(1),
    };
    let y = x.cast(FloatDType::F32) * scale;
    y.cast(dtype)
}

pub(super) fn dense_rows<B: Backend>(call: DenseRows<B>) -> Tensor<B, 2> {
    call.weight.select(0, call.indices).cast(call.dtype)
}

pub(super) fn dense_linear<B: Kernels>(call: DenseLinear<B>) -> Tensor<B, 2> {
    let weight = call.weight.cast(call.x.dtype()).transpose();
    finish(B::burns_matmul(call.x, weight), call.epilogue)
}

/// Does what follows a product.
pub(super) fn finish<B: Kernels>(y: Tensor<B, 2>, epilogue: Epilogue<B>) -> Tensor<B, 2> {
    let Epilogue {
        bias,
        addend,
        activation,
    } = epilogue;
    let dtype = y.dtype();
    let y = match bias {
        Some(bias) => y + bias.cast(dtype).unsqueeze::<2>(),
        None => y,
    };
    let y = match addend {
        Some(addend) => y + addend,
        None => y,
    };
    match activation {
        Activation::None => y,
        Activation::GeluTanh => gelu_tanh(y),
    }
}

/// Unpacks rows U8 `[rows, bytes of a row]` to f32 `[rows, in]`, without their scales.
fn unpack<B: Backend>(bytes: Tensor<B, 2, Int>, format: PackedFormat) -> Tensor<B, 2> {
    match format {
        PackedFormat::Fp8(format) => decode_all(bytes, format),
    }
}

/// Decodes U8 codes `[rows, in]` to f32 values of the same shape, by table look-up.
pub(crate) fn decode_all<B: Backend>(codes: Tensor<B, 2, Int>, format: Fp8Format) -> Tensor<B, 2> {
    let shape = codes.dims();
    let device = codes.device();
    let table = Tensor::<B, 1>::from_data(TensorData::from(*format.table()), (&device, DType::F32));
    let indices = codes.cast(IntDType::I32).reshape([shape[0] * shape[1]]);
    table.select(0, indices).reshape(shape)
}

#[cfg(all(test, feature = "flex"))]
mod tests;
