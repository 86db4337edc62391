//! NVIDIA GPUs: kernels of our own and cuBLASLt's matrix products, beside Burn's operations.
//!
//! Burn's CUDA backend keeps its streams to itself, so ours run on a stream of their own, ordered
//! before and after Burn's work on the device, without the host waiting (see [`engine`]). Device
//! memory is Burn's throughout.

// What a function here does not compute it hands back, as large as it was given; that is no error
// which travels far.
#![allow(clippy::result_large_err)]

mod attention;
mod attention_quantized;
mod blas;
mod cache;
mod compile;
mod concatenate;
mod conv;
mod engine;
mod fork;
mod fused;
mod layer_norm;
mod linear;
mod ops;
mod order;
pub(crate) mod probe;
mod rotary;
mod round;
mod rounded;
mod scratch;
mod sink;
mod streams;
mod tensor;

use burn_cuda::Cuda;

use crate::storage::{DeviceMemory, DeviceStorage, KernelSet};
use crate::upload::UploadError;

pub(crate) use engine::near;

impl DeviceStorage for Cuda {
    const HOST_MEMORY: bool = false;

    const KERNELS: KernelSet = KernelSet::Cuda;

    type Sink = sink::CudaSink;

    fn sink(device: &Self::Device) -> Result<Self::Sink, UploadError> {
        Self::Sink::new(device)
    }

    fn memory(device: &Self::Device) -> Option<DeviceMemory> {
        probe::memory(device.index)
    }

    fn prepare(device: &Self::Device) -> Result<(), String> {
        engine::prepare(device).map_err(|error| error.to_string())
    }

    fn in_exact_memory<T: Send>(device: &Self::Device, work: impl FnOnce() -> T + Send) -> T {
        engine::in_exact_memory(device, work)
    }
}
