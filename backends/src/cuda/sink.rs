//! Uploads to NVIDIA GPUs: pinned host buffers, asynchronous copies on a stream of their own, events
//! as fences.

use std::any::Any;
use std::collections::VecDeque;
use std::ffi::c_void;
use std::sync::Arc;

use burn::tensor::DType;
use burn::tensor::ops::{FloatTensor, IntTensor};
use burn_cubecl::cubecl::cuda::CudaRuntime;
use burn_cuda::{Cuda, CudaDevice};
use cudarc::driver::{CudaContext, CudaEvent, CudaStream, DriverError, result, sys};

use super::driver_message::driver_message;
use super::order::{Mark, Order};
use super::probe;
use crate::cube::memory::{self, CubeMemory};
use crate::upload::{
    Allowance, DeviceSink, HostBuffer, MemoryId, Piece, TensorSink, UploadError, not_of_size,
};

/// The smallest pages that systems have.
const PAGE: usize = 4096;

/// A sink that copies straight into CubeCL's memory.
pub struct CudaSink {
    pub(super) memory: CubeMemory<CudaRuntime>,
    allowance: Allowance,
    /// The address of each memory on the device.
    pointers: Vec<sys::CUdeviceptr>,
    pub(super) order: Arc<Order>,
    pub(super) stream: Arc<CudaStream>,
    in_flight: VecDeque<(HostBuffer, CudaEvent)>,
    /// The work that new allocations may still be in use by, if there are any.
    unordered: Option<Mark>,
}

impl CudaSink {
    /// A sink for a device.
    ///
    /// # Errors
    /// [`UploadError::Device`] if the driver refuses a stream.
    pub fn new(device: &CudaDevice) -> Result<Self, UploadError> {
        let order = Order::of(device).map_err(failed)?;
        let stream = order.context().new_stream().map_err(failed)?;
        Ok(Self {
            memory: CubeMemory::new(device),
            allowance: Allowance::default(),
            pointers: Vec::new(),
            order,
            stream,
            in_flight: VecDeque::new(),
            unordered: None,
        })
    }

    /// Makes copies wait, on the device, for the work in front of a mark.
    pub(super) fn wait_for(&self, mark: &Mark) -> Result<(), UploadError> {
        let mut events = mark.0.iter();
        let waits = events.try_for_each(|event| self.stream.wait(event));
        waits.map_err(failed)
    }
}

impl DeviceSink for CudaSink {
    fn allocate(&mut self, bytes: usize) -> Result<MemoryId, UploadError> {
        // CubeCL ends its device thread where the driver refuses; so the driver is asked first.
        let index = self.memory.device.index;
        let free = || probe::memory(index).map(|memory| memory.free);
        self.allowance.take(bytes as u64, free)?;
        let id = self.memory.allocate(bytes)?;
        let (handle, _) = self.memory.get(id).ok_or_else(|| not_of_size(id, bytes))?;
        let (client, order) = (&self.memory.client, &self.order);
        let placed = client.exclusive(|| {
            let resource = client.get_resource(handle.clone());
            let pointer = resource.map_err(memory::failed)?.resource().ptr;
            // What was freed before, and is now taken again, may still be in use.
            Ok((pointer, order.used().map_err(failed)?))
        });
        let (pointer, mark) = placed.map_err(memory::failed)??;
        self.pointers.push(pointer);
        self.unordered = Some(mark);
        Ok(id)
    }

    fn host_buffer(&mut self, bytes: usize) -> Result<HostBuffer, UploadError> {
        let mut buffer = HostBuffer::new(bytes)?;
        // Pages that are there already are pinned faster than pages that must be made.
        for page in buffer.chunks_mut(PAGE) {
            page[0] = 0;
        }
        // Where the system refuses to pin (a low limit of locked memory), copies are slower and
        // as right.
        match Pin::new(self.order.context(), &mut buffer) {
            Ok(pin) => Ok(buffer.pinned_by(Box::new(pin) as Box<dyn Any + Send>)),
            Err(_) => Ok(buffer),
        }
    }

    fn write(&mut self, buffer: HostBuffer, pieces: &[Piece]) -> Result<(), UploadError> {
        // By the device: a thread that only writes must not ask anything of CubeCL's own, which
        // may be the one that waits for these bytes.
        if let Some(mark) = self.unordered.take() {
            self.wait_for(&mark)?;
        }
        self.order.context().bind_to_thread().map_err(failed)?;
        let event = (|| {
            for piece in pieces {
                let size = self.memory.get(piece.memory).map(|(_, size)| size);
                let bytes = piece.of(&buffer, size)?;
                if bytes.is_empty() {
                    continue;
                }
                let target = self.pointers[piece.memory.index()] + piece.offset as u64;
                // SAFETY: the piece lies within the memory, which its handle keeps; the buffer is
                // kept in `in_flight` until the event behind this copy has come.
                unsafe { result::memcpy_htod_async(target, bytes, self.stream.cu_stream()) }
                    .map_err(failed)?;
            }
            self.stream.record_event(None).map_err(failed)
        })();
        match event {
            Ok(event) => {
                self.in_flight.push_back((buffer, event));
                Ok(())
            }
            Err(error) => {
                // Some of its copies may be under way: the buffer must not go before they end.
                let _ = self.stream.synchronize();
                Err(error)
            }
        }
    }

    fn reclaim(&mut self, wait: bool) -> Result<Option<HostBuffer>, UploadError> {
        let Some((_, event)) = self.in_flight.front() else {
            return Ok(None);
        };
        if wait {
            event.synchronize().map_err(failed)?;
        } else if !event.try_is_complete().map_err(failed)? {
            return Ok(None);
        }
        Ok(self.in_flight.pop_front().map(|(buffer, _)| buffer))
    }

    fn finish(&mut self) -> Result<(), UploadError> {
        self.stream.synchronize().map_err(failed)
    }
}

impl Drop for CudaSink {
    fn drop(&mut self) {
        // Neither a buffer nor device memory may go while it is copied; a device that fails
        // here copies nothing any more.
        let _ = self.stream.synchronize();
    }
}

impl TensorSink<Cuda> for CudaSink {
    fn codes(&mut self, memory: MemoryId, shape: &[usize]) -> Result<IntTensor<Cuda>, UploadError> {
        self.memory.take(memory, shape, DType::U8)
    }

    fn floats(
        &mut self,
        memory: MemoryId,
        shape: &[usize],
        dtype: DType,
    ) -> Result<FloatTensor<Cuda>, UploadError> {
        self.memory.take(memory, shape, dtype)
    }
}

/// Pages that the driver has locked in place.
struct Pin {
    context: Arc<CudaContext>,
    address: usize,
}

impl Pin {
    fn new(context: &Arc<CudaContext>, buffer: &mut HostBuffer) -> Result<Self, DriverError> {
        context.bind_to_thread()?;
        let address = buffer.as_mut_ptr().cast::<c_void>();
        // SAFETY: the range is mapped memory of ours, and stays so until `drop` has
        // unregistered it, since the buffer drops its pin first.
        unsafe { sys::cuMemHostRegister_v2(address, buffer.len(), 0) }.result()?;
        Ok(Self {
            context: context.clone(),
            address: address as usize,
        })
    }
}

impl Drop for Pin {
    fn drop(&mut self) {
        if self.context.bind_to_thread().is_ok() {
            // SAFETY: the address was registered by `new` and is still mapped.
            let _ = unsafe { sys::cuMemHostUnregister(self.address as *mut c_void) };
        }
    }
}

pub(super) fn failed(error: DriverError) -> UploadError {
    UploadError::Device(driver_message(error))
}
