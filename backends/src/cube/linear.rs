//! Linear layers and embeddings on weights that a device reads as words: the portable bodies,
//! with kernels of our own in place of what needs a narrow type.

use burn::tensor::backend::Backend;
use burn::tensor::{FloatDType, IntDType, Tensor, TensorPrimitive};
use burn_cubecl::CubeRuntime;
use burn_cubecl::tensor::CubeTensor;

use super::decode::{self, Narrow};
use crate::kernels::{
    DenseLinear, DenseRows, Epilogue, Kernels, PackedLinear, PackedMatrix, PackedRows,
};
use crate::weight::{PackedFormat, portable};

pub(super) fn packed_linear<B, R>(call: PackedLinear<B>) -> Tensor<B, 2>
where
    R: CubeRuntime,
    B: Kernels + Backend<FloatTensorPrimitive = CubeTensor<R>, IntTensorPrimitive = CubeTensor<R>>,
{
    let PackedMatrix {
        bytes,
        scale,
        format: PackedFormat::Fp8(format),
    } = call.weight;
    let weight = bytes.into_primitive();
    let narrow = Narrow::of_codes(format);
    linear(call.x, weight, narrow, Some(scale), call.epilogue)
}

/// Computes the layer where the weight is narrower than `f32` and of another dtype than `x`.
pub(super) fn dense_linear<B, R>(call: DenseLinear<B>) -> Result<Tensor<B, 2>, DenseLinear<B>>
where
    R: CubeRuntime,
    B: Kernels + Backend<FloatTensorPrimitive = CubeTensor<R>>,
{
    match Narrow::of_floats(call.weight.dtype()) {
        Some(narrow) if call.weight.dtype() != call.x.dtype() => {
            let weight = call.weight.into_primitive().tensor();
            Ok(linear(call.x, weight, narrow, None, call.epilogue))
        }
        _ => Err(call),
    }
}

fn linear<B, R>(
    x: Tensor<B, 2>,
    weight: CubeTensor<R>,
    narrow: Narrow,
    scale: Option<Tensor<B, 1>>,
    epilogue: Epilogue<B>,
) -> Tensor<B, 2>
where
    R: CubeRuntime,
    B: Kernels + Backend<FloatTensorPrimitive = CubeTensor<R>>,
{
    let shape = [weight.meta.shape()[0], weight.meta.shape()[1]];
    let decode = |rows, dtype| float(decode::range(weight.clone(), rows, narrow, dtype));
    portable::decoded_linear(x, shape, decode, scale, epilogue)
}

pub(super) fn packed_rows<B, R>(call: PackedRows<B>) -> Tensor<B, 2>
where
    R: CubeRuntime,
    B: Backend<FloatTensorPrimitive = CubeTensor<R>, IntTensorPrimitive = CubeTensor<R>>,
{
    let PackedMatrix {
        bytes,
        scale,
        format: PackedFormat::Fp8(format),
    } = call.weight;
    let indices = call.indices.cast(IntDType::I32);
    let rows = decode::rows(
        bytes.into_primitive(),
        indices.clone().into_primitive(),
        Narrow::of_codes(format),
        FloatDType::F32,
    );
    portable::scaled_rows(float(rows), scale, indices, call.dtype)
}

/// Looks the rows up where the weight is narrower than `f32`.
pub(super) fn dense_rows<B, R>(call: DenseRows<B>) -> Result<Tensor<B, 2>, DenseRows<B>>
where
    R: CubeRuntime,
    B: Backend<FloatTensorPrimitive = CubeTensor<R>, IntTensorPrimitive = CubeTensor<R>>,
{
    let Some(narrow) = Narrow::of_floats(call.weight.dtype()) else {
        return Err(call);
    };
    let indices = call.indices.cast(IntDType::I32).into_primitive();
    let weight = call.weight.into_primitive().tensor();
    Ok(float(decode::rows(weight, indices, narrow, call.dtype)))
}

/// The tensor of a primitive.
fn float<B, R>(primitive: CubeTensor<R>) -> Tensor<B, 2>
where
    R: CubeRuntime,
    B: Backend<FloatTensorPrimitive = CubeTensor<R>>,
{
    Tensor::from_primitive(TensorPrimitive::Float(primitive))
}
