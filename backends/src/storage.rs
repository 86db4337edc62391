//! What the program must know of a backend's memory before it fills it.

use burn::tensor::backend::Backend;

use crate::kernels::Kernels;
use crate::upload::{TensorSink, UploadError};

/// Memory of a device that has its own, in bytes, as its driver reports it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeviceMemory {
    /// Not in use by any process.
    pub free: u64,
    /// Installed.
    pub total: u64,
}

impl DeviceMemory {
    /// In use by all processes together.
    pub fn used(&self) -> u64 {
        self.total.saturating_sub(self.free)
    }
}

/// Which kernels do a backend's work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KernelSet {
    /// The processor's own.
    Processor,
    /// Those for NVIDIA GPUs.
    Cuda,
    /// Burn's operations, put together.
    Portable,
}

/// Where a backend keeps tensors.
pub trait DeviceStorage: Backend {
    /// Whether host memory is the device's memory, so that a file mapping can be a tensor.
    const HOST_MEMORY: bool;

    /// Which kernels do its work.
    const KERNELS: KernelSet;

    /// How bytes get into its memory.
    type Sink: TensorSink<Self>;

    /// A sink for a device.
    ///
    /// # Errors
    /// [`UploadError::Device`] if the driver refuses.
    fn sink(device: &Self::Device) -> Result<Self::Sink, UploadError>;

    /// The driver's figures, or `None` where the device has no memory of its own or its driver
    /// does not tell.
    fn memory(device: &Self::Device) -> Option<DeviceMemory>;

    /// Makes what computing on a device needs beside Burn: once, before the first use.
    ///
    /// # Errors
    /// Why the device's own kernels cannot be had; portable ones do their work then.
    fn prepare(device: &Self::Device) -> Result<(), String> {
        let _ = device;
        Ok(())
    }

    /// Runs work whose tensors come and go in the same few sizes, with no more memory than they
    /// need.
    fn in_exact_memory<T: Send>(device: &Self::Device, work: impl FnOnce() -> T + Send) -> T {
        let _ = device;
        work()
    }

    /// Gives back to the driver what Burn's pools hold and no tensor uses.
    fn release_unused(device: &Self::Device) {
        Self::memory_cleanup(device);
        // A device that cannot finish its queue has no memory to give back; the next
        // operation reports the failure.
        let _ = Self::sync(device);
    }
}

/// Everything that the model and the loader need of a backend.
pub trait ModelBackend: Kernels + DeviceStorage {}

impl<B: Kernels + DeviceStorage> ModelBackend for B {}
