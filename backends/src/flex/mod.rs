//! The processor, through Burn's Flex backend: kernels of our own in vector lanes, on all cores.

mod attention;
mod channel_norm;
mod conv;
mod decode;
mod linear;
#[cfg(target_arch = "x86_64")]
mod narrow;
mod rows;
mod sink;
mod tensor;
mod vector_math;

use burn_flex::Flex;

use crate::storage::{DeviceMemory, DeviceStorage, KernelSet};
use crate::upload::UploadError;

impl DeviceStorage for Flex {
    const HOST_MEMORY: bool = true;

    const KERNELS: KernelSet = KernelSet::Processor;

    type Sink = sink::HostSink;

    fn sink(_device: &Self::Device) -> Result<Self::Sink, UploadError> {
        Ok(Self::Sink::new())
    }

    fn memory(_device: &Self::Device) -> Option<DeviceMemory> {
        None
    }
}
