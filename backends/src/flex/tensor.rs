//! Flex tensors in and out of f32.

use burn::tensor::ops::FloatTensorOps;
use burn::tensor::{DType, FloatDType};
use burn_flex::{Flex, FlexTensor};

/// The tensor as contiguous f32: itself if it is so already, else a copy.
pub(crate) fn to_f32(tensor: FlexTensor) -> FlexTensor {
    in_dtype(tensor, DType::F32).to_contiguous()
}

/// The tensor in a float dtype.
pub(crate) fn in_dtype(tensor: FlexTensor, dtype: DType) -> FlexTensor {
    if tensor.dtype() == dtype {
        tensor
    } else {
        Flex::float_cast(tensor, FloatDType::from(dtype))
    }
}
