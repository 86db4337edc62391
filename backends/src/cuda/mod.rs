//! NVIDIA GPUs: kernels of our own and cuBLASLt's matrix products, beside Burn's operations.
//!
//! Burn's CUDA backend keeps its streams to itself, so ours run on streams of their own, ordered
//! before and after Burn's work on the device, without the host waiting (see [`engine`]). Tensors
//! are in Burn's memory; scratch memory and workspaces are the engine's own. The operations that
//! have kernels are in [`ops`]; the files beside it are what they run on.

// A kernel that cannot compute a call hands the call back in `Err`, by value and over one step.
#![allow(clippy::result_large_err)]

mod blas;
mod cache;
mod compile;
mod concurrent;
mod device_thread;
mod driver_message;
mod element;
mod engine;
mod lanes;
mod launch;
mod launch_table;
mod ops;
mod order;
pub(crate) mod probe;
mod scope;
mod scratch;
mod series;
mod side_stream;
mod sink;
mod slots;
mod streams;
mod tensor;

use burn_cuda::Cuda;

use crate::storage::{DeviceMemory, DeviceStorage, KernelSet};
use crate::upload::UploadError;

pub(crate) use device_thread::on_device_thread;

impl DeviceStorage for Cuda {
    const HOST_MEMORY: bool = false;

    const KERNELS: KernelSet = KernelSet::Cuda;

    const COPIES_BESIDE: bool = true;

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

    fn with_exact_allocations<T: Send>(
        device: &Self::Device,
        work: impl FnOnce() -> T + Send,
    ) -> T {
        device_thread::with_exact_allocations(device, work)
    }
}
