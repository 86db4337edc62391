//! Linear layers and embeddings on weights that a device reads as words: the portable bodies,
//! with kernels of our own in place of what needs a narrow type.

use burn::tensor::backend::Backend;
use burn::tensor::ops::{FloatTensor, IntTensor};
use burn::tensor::{FloatDType, IntDType, Tensor, TensorPrimitive};
use burn_cubecl::CubeRuntime;
use burn_cubecl::tensor::CubeTensor;

use super::decode::{self, Narrow};
use crate::fp8::{Epilogue, Fp8Format, portable};
use crate::fused::FusedOps;

/// See [`Fp8Ops::fp8_linear`](crate::fp8::Fp8Ops::fp8_linear).
pub(super) fn fp8_linear<B, R>(
    x: FloatTensor<B>,
    weight: IntTensor<B>,
    scale: FloatTensor<B>,
    format: Fp8Format,
    epilogue: Epilogue<B>,
) -> FloatTensor<B>
where
    R: CubeRuntime,
    B: FusedOps + Backend<FloatTensorPrimitive = CubeTensor<R>, IntTensorPrimitive = CubeTensor<R>>,
{
    let narrow = Narrow::of_codes(format);
    linear::<B, R>(x, weight, narrow, Some(scale), epilogue)
}

/// See [`Fp8Ops::dense_linear`](crate::fp8::Fp8Ops::dense_linear).
pub(super) fn dense_linear<B, R>(
    x: FloatTensor<B>,
    weight: FloatTensor<B>,
    epilogue: Epilogue<B>,
) -> FloatTensor<B>
where
    R: CubeRuntime,
    B: FusedOps + Backend<FloatTensorPrimitive = CubeTensor<R>>,
{
    match Narrow::of_floats(weight.dtype) {
        Some(narrow) if weight.dtype != x.dtype => {
            linear::<B, R>(x, weight, narrow, None, epilogue)
        }
        _ => portable::dense_linear::<B>(x, weight, epilogue),
    }
}

fn linear<B, R>(
    x: FloatTensor<B>,
    weight: CubeTensor<R>,
    narrow: Narrow,
    scale: Option<FloatTensor<B>>,
    epilogue: Epilogue<B>,
) -> FloatTensor<B>
where
    R: CubeRuntime,
    B: FusedOps + Backend<FloatTensorPrimitive = CubeTensor<R>>,
{
    let shape = [weight.meta.shape()[0], weight.meta.shape()[1]];
    let decode = |rows, dtype| {
        let rows = decode::range(weight.clone(), rows, narrow, dtype);
        Tensor::from_primitive(TensorPrimitive::Float(rows))
    };
    portable::decoded_linear::<B>(x, shape, decode, scale, epilogue)
}

/// See [`Fp8Ops::fp8_rows`](crate::fp8::Fp8Ops::fp8_rows).
pub(super) fn fp8_rows<B, R>(
    weight: IntTensor<B>,
    scale: FloatTensor<B>,
    indices: IntTensor<B>,
    format: Fp8Format,
    dtype: FloatDType,
) -> FloatTensor<B>
where
    R: CubeRuntime,
    B: Backend<FloatTensorPrimitive = CubeTensor<R>, IntTensorPrimitive = CubeTensor<R>>,
{
    let indices = B::int_cast(indices, IntDType::I32);
    let narrow = Narrow::of_codes(format);
    let rows = decode::rows(weight, indices.clone(), narrow, FloatDType::F32);
    portable::scaled_rows::<B>(
        Tensor::from_primitive(TensorPrimitive::Float(rows)),
        scale,
        indices,
        dtype,
    )
}

/// See [`Fp8Ops::dense_rows`](crate::fp8::Fp8Ops::dense_rows).
pub(super) fn dense_rows<B, R>(
    weight: FloatTensor<B>,
    indices: IntTensor<B>,
    dtype: FloatDType,
) -> FloatTensor<B>
where
    R: CubeRuntime,
    B: Backend<FloatTensorPrimitive = CubeTensor<R>, IntTensorPrimitive = CubeTensor<R>>,
{
    match Narrow::of_floats(weight.dtype) {
        Some(narrow) => {
            let indices = B::int_cast(indices, IntDType::I32);
            decode::rows(weight, indices, narrow, dtype)
        }
        None => portable::dense_rows::<B>(weight, indices, dtype),
    }
}
