//! Burn's tensors as our kernels see them.

use burn::tensor::{DType, Shape};
use burn_cubecl::cubecl::cuda::CudaRuntime;
use burn_cubecl::cubecl::server::Handle;
use burn_cubecl::kernel::into_contiguous;
use burn_cubecl::tensor::CubeTensor;

/// A tensor of Burn's CUDA backend.
pub(super) type Tensor = CubeTensor<CudaRuntime>;

/// What kernels compute in, by the dtype of activations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Element {
    /// bfloat16, with f32 arithmetic between load and store.
    Bf16,
    /// Single precision.
    F32,
}

impl Element {
    /// The element of a dtype, if kernels know it.
    pub(super) fn of(dtype: DType) -> Option<Self> {
        match dtype {
            DType::BF16 => Some(Self::Bf16),
            DType::F32 => Some(Self::F32),
            _ => None,
        }
    }

    /// Bytes of one.
    pub(super) fn size(self) -> usize {
        match self {
            Self::Bf16 => 2,
            Self::F32 => 4,
        }
    }

    /// The name of a kernel's variant for it.
    pub(super) fn kernel(self, name: &str) -> String {
        match self {
            Self::Bf16 => format!("{name}_bf16"),
            Self::F32 => format!("{name}_f32"),
        }
    }
}

/// The sizes of a tensor.
pub(super) fn dims<const D: usize>(tensor: &Tensor) -> [usize; D] {
    let shape = tensor.meta.shape();
    std::array::from_fn(|i| shape[i])
}

/// A tensor whose elements follow each other in row-major order.
pub(super) fn contiguous(tensor: Tensor) -> Tensor {
    into_contiguous(tensor)
}

/// The distance between neighbours along each axis, in elements.
pub(super) fn strides<const D: usize>(tensor: &Tensor) -> [i64; D] {
    let strides = tensor.meta.strides();
    std::array::from_fn(|i| strides[i] as i64)
}

/// A contiguous tensor over memory, on the device of another.
pub(super) fn over(like: &Tensor, memory: Handle, shape: Shape, dtype: DType) -> Tensor {
    CubeTensor::new_contiguous(
        like.client.clone(),
        like.device.clone(),
        shape,
        memory,
        dtype,
    )
}
