//! The backend extension that multiplies with weights in their file's format.

use burn::tensor::backend::Backend;
use burn::tensor::ops::{FloatTensor, IntTensor};
use burn::tensor::{DType, FloatDType, Int, IntDType, Tensor, TensorData, TensorPrimitive};

use super::codec::Fp8Format;

/// Weight elements decoded at a time by the portable bodies: 64 MiB as `f32`.
const DECODE_CHUNK: usize = 16 << 20;

/// Linear layers on weights that stay in their storage format.
///
/// Every method has a portable body made of Burn operations; a backend overrides it where it
/// can do better. Weights are decoded exactly (each FP8 code is exact in bf16 and f32) and the
/// tensor's scale multiplies the result, not the weight.
pub trait Fp8Ops: Backend {
    /// `y = (x · decode(weight)ᵀ) * scale + bias`.
    ///
    /// * `x`: float `[rows, in]`; `y` has its dtype.
    /// * `weight`: U8 `[out, in]`, FP8 codes.
    /// * `scale`: f32 `[1]`.
    /// * `bias`: float `[out]`.
    fn fp8_linear(
        x: FloatTensor<Self>,
        weight: IntTensor<Self>,
        scale: FloatTensor<Self>,
        bias: Option<FloatTensor<Self>>,
        format: Fp8Format,
    ) -> FloatTensor<Self> {
        let x = float::<Self, 2>(x);
        let weight = Tensor::<Self, 2, Int>::from_primitive(weight);
        let [out, width] = weight.dims();
        let dtype: FloatDType = x.dtype().into();
        let rows_at_once = (DECODE_CHUNK / width.max(1)).max(1);
        let products = (0..out)
            .step_by(rows_at_once)
            .map(|start| {
                let rows = weight
                    .clone()
                    .narrow(0, start, rows_at_once.min(out - start));
                x.clone()
                    .matmul(decode_all(rows, format).cast(dtype).transpose())
            })
            .collect();
        let y = Tensor::cat(products, 1).cast(FloatDType::F32)
            * float::<Self, 1>(scale).unsqueeze::<2>();
        finish(y.cast(dtype), bias)
    }

    /// `y = x · weightᵀ + bias` for a dense weight in any float dtype.
    ///
    /// * `x`: float `[rows, in]`; `y` has its dtype.
    /// * `weight`: float `[out, in]`.
    /// * `bias`: float `[out]`.
    fn dense_linear(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: Option<FloatTensor<Self>>,
    ) -> FloatTensor<Self> {
        let x = float::<Self, 2>(x);
        let weight = float::<Self, 2>(weight).cast(x.dtype()).transpose();
        finish(x.matmul(weight), bias)
    }
}

/// Wraps a float primitive.
fn float<B: Backend, const D: usize>(primitive: FloatTensor<B>) -> Tensor<B, D> {
    Tensor::from_primitive(TensorPrimitive::Float(primitive))
}

/// Adds the bias and unwraps.
fn finish<B: Backend>(y: Tensor<B, 2>, bias: Option<FloatTensor<B>>) -> FloatTensor<B> {
    let dtype = y.dtype();
    match bias {
        Some(bias) => y + float::<B, 1>(bias).cast(dtype).unsqueeze::<2>(),
        None => y,
    }
    .into_primitive()
    .tensor()
}

/// U8 codes `[rows, in]` as f32 values of the same shape, by table look-up.
pub(crate) fn decode_all<B: Backend>(codes: Tensor<B, 2, Int>, format: Fp8Format) -> Tensor<B, 2> {
    let shape = codes.dims();
    let device = codes.device();
    let table = Tensor::<B, 1>::from_data(TensorData::from(*format.table()), (&device, DType::F32));
    let indices = codes.cast(IntDType::I32).reshape([shape[0] * shape[1]]);
    table.select(0, indices).reshape(shape)
}
