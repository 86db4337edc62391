//! Burn's tensors as our kernels see them.

use std::sync::Arc;

use burn::tensor::{DType, Shape, TensorPrimitive};
use burn_cubecl::cubecl::cuda::CudaRuntime;
use burn_cubecl::cubecl::server::Handle;
use burn_cubecl::kernel::{cast, into_contiguous};
use burn_cubecl::tensor::CubeTensor;
use burn_cuda::Cuda;

use super::concurrent;
use super::element::Element;
use super::engine::Engine;

/// A tensor of Burn's CUDA backend.
pub(super) type Tensor = CubeTensor<CudaRuntime>;

/// A tensor of Burn's interface, which the rest of the program uses.
pub(super) type Typed<const D: usize> = burn::tensor::Tensor<Cuda, D>;

/// The primitive of a tensor.
pub(super) fn raw<const D: usize>(tensor: Typed<D>) -> Tensor {
    tensor.into_primitive().tensor()
}

/// The tensor of a primitive.
pub(super) fn typed<const D: usize>(primitive: Tensor) -> Typed<D> {
    Typed::from_primitive(TensorPrimitive::Float(primitive))
}

/// The engine of a tensor's device and what its kernels compute in; `None` where there is no
/// engine or where kernels do not know the dtype.
pub(super) fn engine_of<const D: usize>(tensor: &Typed<D>) -> Option<(Arc<Engine>, Element)> {
    let element = Element::of(tensor.dtype())?;
    let engine = Engine::of(&tensor.device()).ok()?;
    Some((engine, element))
}

/// The sizes of a tensor.
pub(super) fn dims<const D: usize>(tensor: &Tensor) -> [usize; D] {
    let shape = tensor.meta.shape();
    std::array::from_fn(|i| shape[i])
}

/// A tensor whose elements follow each other in row-major order: a copy, unless they do already.
pub(super) fn contiguous(tensor: Tensor) -> Tensor {
    if is_contiguous(&tensor) {
        flat(tensor)
    } else {
        concurrent::end();
        into_contiguous(tensor)
    }
}

/// A tensor in another dtype, by Burn.
pub(super) fn in_dtype(tensor: Tensor, dtype: DType) -> Tensor {
    if tensor.dtype == dtype {
        tensor
    } else {
        concurrent::end();
        cast(tensor, dtype)
    }
}

/// A contiguous tensor in a dtype, where the tensor is a parameter or was computed before the
/// open [`concurrently`](concurrent::concurrently): no operation that is noted down gives it.
pub(super) fn parameter(tensor: Tensor, dtype: DType) -> Tensor {
    let tensor = if tensor.dtype == dtype {
        tensor
    } else {
        cast(tensor, dtype)
    };
    if is_contiguous(&tensor) {
        flat(tensor)
    } else {
        into_contiguous(tensor)
    }
}

/// Tells whether elements follow each other in row-major order. Burn asks the same of axes of a
/// single element too, whose stride means nothing, and would copy what was narrowed next to one.
fn is_contiguous(tensor: &Tensor) -> bool {
    let (shape, strides) = (tensor.meta.shape(), tensor.meta.strides());
    let mut expected = 1;
    let mut in_order = true;
    for axis in (0..shape.num_dims()).rev() {
        in_order &= shape[axis] == 1 || strides[axis] == expected;
        expected *= shape[axis];
    }
    in_order
}

/// A contiguous tensor with the strides of one.
fn flat(tensor: Tensor) -> Tensor {
    let (memory, shape) = (tensor.handle.clone(), tensor.meta.shape().clone());
    over(&tensor, memory, shape, tensor.dtype)
}

/// The distance between neighbours along each axis, in elements.
pub(super) fn strides<const D: usize>(tensor: &Tensor) -> [i64; D] {
    let strides = tensor.meta.strides();
    std::array::from_fn(|i| strides[i] as i64)
}

/// The stride from one batch to the next of a `[batch, 1, channels]` that may have one batch for
/// all.
pub(super) fn batch_stride(tensor: &Tensor) -> i64 {
    let [batch, _, channels] = dims(tensor);
    if batch == 1 { 0 } else { channels as i64 }
}

/// A contiguous tensor in new memory of Burn's, on the device of another. What a run writes to is taken
/// before it.
pub(super) fn empty(like: &Tensor, shape: Shape, dtype: DType) -> Tensor {
    let bytes = shape.num_elements() * dtype.size();
    let memory = like.client.empty(bytes.max(1));
    over(like, memory, shape, dtype)
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
