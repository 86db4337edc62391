//! Weights with a scale for each row, on devices whose kernels know one for the whole: the product
//! without scales, rounded to the activations' dtype, and then the factors of its columns.

use burn::tensor::ops::{FloatTensor, IntTensor};
use burn::tensor::{DType, FloatDType, Tensor};

use super::codec::Fp8Format;
use super::ops::{Epilogue, Fp8Ops, RoundedRows};
use super::portable::{finish, float, scaled};
use crate::fused::FusedOps;

/// Tells whether a scale is one for each row of a weight.
#[cfg(feature = "cuda")]
pub(crate) fn is_by_row<B: burn::tensor::backend::Backend>(scale: &FloatTensor<B>) -> bool {
    use burn::tensor::TensorMetadata;
    scale.shape().num_elements() != 1
}

/// Computes [`Fp8Ops::fp8_linear`] with a scale for each row.
pub(crate) fn fp8_linear_by_row<B: Fp8Ops>(
    x: FloatTensor<B>,
    weight: IntTensor<B>,
    scale: FloatTensor<B>,
    format: Fp8Format,
    epilogue: Epilogue<B>,
) -> FloatTensor<B> {
    by_row::<B>(scale, epilogue, |one, none| {
        B::fp8_linear(x, weight, one, format, none)
    })
}

/// Computes [`Fp8Ops::fp8_linear_rounded`] with a scale for each row.
pub(crate) fn fp8_linear_rounded_by_row<B: Fp8Ops>(
    x: RoundedRows<B>,
    weight: IntTensor<B>,
    scale: FloatTensor<B>,
    format: Fp8Format,
    epilogue: Epilogue<B>,
) -> FloatTensor<B> {
    by_row::<B>(scale, epilogue, |one, none| {
        B::fp8_linear_rounded(x, weight, one, format, none)
    })
}

/// Asks for the product with a scale of 1 and no epilogue, and does the rest.
fn by_row<B: FusedOps>(
    scale: FloatTensor<B>,
    epilogue: Epilogue<B>,
    product: impl FnOnce(FloatTensor<B>, Epilogue<B>) -> FloatTensor<B>,
) -> FloatTensor<B> {
    let device = float::<B, 1>(scale.clone()).device();
    let one = Tensor::<B, 1>::ones([1], (&device, DType::F32));
    let y = product(one.into_primitive().tensor(), Epilogue::NONE);
    let y = float::<B, 2>(y);
    let dtype: FloatDType = y.dtype().into();
    finish(float(scaled(y, scale, dtype)), epilogue)
}
