//! Slots in the memory of NVIDIA GPUs.

use burn::tensor::DType;
use burn::tensor::ops::{FloatTensor, IntTensor};
use burn_cubecl::cubecl::cuda::CudaRuntime;
use burn_cuda::Cuda;
use cudarc::driver::CudaEvent;

use super::sink::{CudaSink, failed};
use crate::cube::memory::CubeMemory;
use crate::upload::{MemoryId, SlotSink, Slots, UploadError};

impl SlotSink<Cuda> for CudaSink {
    type Written = CudaEvent;
    type Used = ();
    type Slots = CudaSlots;

    fn slots(&self) -> CudaSlots {
        CudaSlots {
            memory: self.memory.clone(),
        }
    }

    fn written(&mut self) -> Result<CudaEvent, UploadError> {
        self.stream.record_event(None).map_err(failed)
    }

    fn write_after(&mut self, _used: &()) -> Result<(), UploadError> {
        Ok(())
    }
}

/// Lends tensors over a sink's memory.
pub struct CudaSlots {
    memory: CubeMemory<CudaRuntime>,
}

impl Slots<Cuda> for CudaSlots {
    type Written = CudaEvent;
    type Used = ();

    fn read_after(&self, written: &CudaEvent) -> Result<(), UploadError> {
        written.synchronize().map_err(failed)
    }

    fn codes_in(
        &self,
        memory: MemoryId,
        offset: usize,
        shape: &[usize],
    ) -> Result<IntTensor<Cuda>, UploadError> {
        self.memory.lend(memory, offset, shape, DType::U8)
    }

    fn floats_in(
        &self,
        memory: MemoryId,
        offset: usize,
        shape: &[usize],
        dtype: DType,
    ) -> Result<FloatTensor<Cuda>, UploadError> {
        self.memory.lend(memory, offset, shape, dtype)
    }

    fn used(&self) -> Result<(), UploadError> {
        self.memory.wait()
    }
}
