//! Slots in the memory of NVIDIA GPUs.

use std::sync::Arc;

use burn::tensor::DType;
use burn::tensor::ops::{FloatTensor, IntTensor};
use burn_cubecl::cubecl::cuda::CudaRuntime;
use burn_cuda::Cuda;
use cudarc::driver::DriverError;

use super::concurrent;
use super::order::{InUse, Mark, Order};
use super::sink::{CudaSink, failed};
use crate::cube::memory::{self, CubeMemory};
use crate::upload::{MemoryId, SlotSink, Slots, UploadError};

impl SlotSink<Cuda> for CudaSink {
    type Written = Mark;
    type Used = Mark;
    type Slots = CudaSlots;

    fn slots(&self) -> CudaSlots {
        CudaSlots {
            in_use: Order::use_slots(&self.order, &self.memory.device),
            memory: self.memory.clone(),
        }
    }

    fn written(&mut self) -> Result<Mark, UploadError> {
        let event = self.stream.record_event(None).map_err(failed)?;
        Ok(Mark(vec![event]))
    }

    fn write_after(&mut self, used: &Mark) -> Result<(), UploadError> {
        self.wait_for(used)
    }
}

/// Lends tensors over a sink's memory.
pub struct CudaSlots {
    memory: CubeMemory<CudaRuntime>,
    in_use: InUse,
}

impl CudaSlots {
    /// Runs `work` where all that Burn was asked for before has been submitted.
    fn submitted<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Order) -> Result<T, DriverError> + Send,
    ) -> Result<T, UploadError> {
        let order: &Arc<Order> = self.in_use.order();
        let done = self.memory.client.exclusive(|| work(order));
        done.map_err(memory::failed)?.map_err(failed)
    }
}

impl Slots<Cuda> for CudaSlots {
    type Written = Mark;
    type Used = Mark;

    fn read_after(&self, written: &Mark) -> Result<(), UploadError> {
        self.submitted(|order| order.read_after(written))
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

    fn used(&self) -> Result<Mark, UploadError> {
        concurrent::launch_noted();
        self.submitted(Order::used)
    }

    fn has_passed(&self, used: &Mark) -> bool {
        // A device that fails says so when it is given work.
        used.0
            .iter()
            .all(|event| event.try_is_complete().unwrap_or(true))
    }

    fn queues(&self) -> usize {
        self.in_use.order().named_streams()
    }
}
