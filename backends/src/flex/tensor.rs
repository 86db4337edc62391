//! Flex tensors in and out of f32.

use burn::tensor::ops::FloatTensorOps;
use burn::tensor::{DType, FloatDType, Tensor, TensorPrimitive};
use burn_flex::{Flex, FlexTensor};

/// The tensor as contiguous f32: itself if it is so already, else a copy.
pub(super) fn to_f32(tensor: FlexTensor) -> FlexTensor {
    in_dtype(tensor, DType::F32).to_contiguous()
}

/// The tensor in a float dtype.
pub(super) fn in_dtype(tensor: FlexTensor, dtype: DType) -> FlexTensor {
    if tensor.dtype() == dtype {
        tensor
    } else {
        Flex::float_cast(tensor, FloatDType::from(dtype))
    }
}

/// The primitive of a tensor.
pub(super) fn raw<const D: usize>(tensor: Tensor<Flex, D>) -> FlexTensor {
    tensor.into_primitive().tensor()
}

/// The tensor of a primitive.
pub(super) fn typed<const D: usize>(primitive: FlexTensor) -> Tensor<Flex, D> {
    Tensor::from_primitive(TensorPrimitive::Float(primitive))
}
