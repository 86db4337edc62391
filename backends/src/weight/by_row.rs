//! Weights with a scale for each row, on devices whose kernels know one for the whole: the product
//! without scales, rounded to the activations' dtype, is multiplied by the factors of its columns.

use burn::tensor::{DType, FloatDType, Tensor};

use super::linear::{packed_linear, quantized_linear};
use super::portable::{finish, scaled};
use crate::kernels::{Epilogue, Kernels, PackedLinear, PackedMatrix, QuantizedLinear};

/// Tells whether a weight has a scale for each of its rows.
#[cfg(feature = "cuda")]
pub(crate) fn is_by_row<B: Kernels>(weight: &PackedMatrix<B>) -> bool {
    weight.scale.dims() != [1]
}

/// Computes [`PackedLinear`] with a scale for each row.
pub(crate) fn packed_linear_by_row<B: Kernels>(call: PackedLinear<B>) -> Tensor<B, 2> {
    let PackedLinear {
        x,
        weight,
        epilogue,
    } = call;
    by_row(weight, epilogue, |weight, epilogue| {
        packed_linear(PackedLinear {
            x,
            weight,
            epilogue,
        })
    })
}

/// Computes [`QuantizedLinear`] with a scale for each row of the weight.
pub(crate) fn quantized_linear_by_row<B: Kernels>(call: QuantizedLinear<B>) -> Tensor<B, 2> {
    let QuantizedLinear {
        x,
        weight,
        epilogue,
    } = call;
    by_row(weight, epilogue, |weight, epilogue| {
        quantized_linear(QuantizedLinear {
            x,
            weight,
            epilogue,
        })
    })
}

/// Asks for the product with a scale of 1 and no epilogue, and does the rest.
fn by_row<B: Kernels>(
    weight: PackedMatrix<B>,
    epilogue: Epilogue<B>,
    product: impl FnOnce(PackedMatrix<B>, Epilogue<B>) -> Tensor<B, 2>,
) -> Tensor<B, 2> {
    let PackedMatrix {
        bytes,
        scale,
        format,
    } = weight;
    let unscaled = PackedMatrix {
        bytes,
        scale: Tensor::ones([1], (&scale.device(), DType::F32)),
        format,
    };
    let y = product(unscaled, Epilogue::NONE);
    let dtype: FloatDType = y.dtype().into();
    finish(scaled(y, scale, dtype), epilogue)
}
