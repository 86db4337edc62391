//! The memory of a backend: how much there is and how bytes get into it.

use burn::tensor::backend::Backend;

use crate::kernels::Kernels;
use crate::upload::{SlotSink, UploadError};

/// Memory of a device that has its own, in bytes, as its driver reports it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeviceMemory {
    /// Bytes that no process uses.
    pub free: u64,
    /// Bytes that are installed.
    pub total: u64,
}

impl DeviceMemory {
    /// Bytes that all processes together use.
    pub fn used(&self) -> u64 {
        self.total.saturating_sub(self.free)
    }
}

/// The kernels that a backend computes with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KernelSet {
    /// The processor's own.
    Processor,
    /// The kernels for NVIDIA GPUs.
    Cuda,
    /// Burn's operations, put together.
    Portable,
}

/// A backend's memory for tensors.
pub trait DeviceStorage: Backend {
    /// True if host memory is the device's memory, so that a file mapping can be a tensor.
    const HOST_MEMORY: bool;

    /// The kernels that it computes with.
    const KERNELS: KernelSet;

    /// True if bytes are copied into its memory while it computes. Elsewhere copies and work go
    /// through one queue, which the thread that computes must fill.
    const COPIES_BESIDE: bool;

    /// The sink that takes bytes into its memory.
    type Sink: SlotSink<Self> + Send + 'static;

    /// Makes a sink for a device.
    ///
    /// # Errors
    /// [`UploadError::Device`] if the driver refuses.
    fn sink(device: &Self::Device) -> Result<Self::Sink, UploadError>;

    /// Asks the driver for its figures; `None` where the device has no memory of its own or its driver
    /// does not tell.
    fn memory(device: &Self::Device) -> Option<DeviceMemory>;

    /// Compiles or loads the kernels of a device: once, before the first use.
    ///
    /// # Errors
    /// The reason why the kernels cannot be had. Portable bodies do their work then.
    fn prepare(device: &Self::Device) -> Result<(), String> {
        let _ = device;
        Ok(())
    }

    /// Runs work whose tensors come and go in the same few sizes, and allocates for each of them
    /// exactly the bytes that it has.
    fn with_exact_allocations<T: Send>(
        device: &Self::Device,
        work: impl FnOnce() -> T + Send,
    ) -> T {
        let _ = device;
        work()
    }

    /// Gives memory of Burn's pools that no tensor uses back to the driver.
    fn release_unused(device: &Self::Device) {
        Self::memory_cleanup(device);
        // A device that cannot finish its queue has no memory to give back; the next
        // operation reports the failure.
        let _ = Self::sync(device);
    }
}

/// A backend with kernels and memory, which is all that models and loaders need of it.
pub trait ModelBackend: Kernels + DeviceStorage {}

impl<B: Kernels + DeviceStorage> ModelBackend for B {}
