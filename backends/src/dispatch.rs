//! The step from a device chosen at run time to a Burn backend known at compile time.

use crate::device::kind::{BackendKind, DeviceChoice, DeviceError};
use crate::storage::ModelBackend;

/// Work that is generic over the backend.
pub trait OnBackend {
    /// The result of the work.
    type Output;

    /// Does the work on a device of `B`.
    fn run<B: ModelBackend>(self, device: B::Device) -> Self::Output;
}

/// Runs `work` on the chosen device.
///
/// # Errors
/// [`DeviceError::NotCompiledIn`] if the choice did not come from [`choose`](crate::choose).
pub fn dispatch<W>(choice: &DeviceChoice, work: W) -> Result<W::Output, DeviceError>
where
    W: OnBackend<Output: Send + 'static> + Send,
{
    #[cfg(feature = "cubecl")]
    crate::cube::kernel_cache::use_for_cubecl();
    match choice.kind {
        #[cfg(feature = "flex")]
        BackendKind::Flex => Ok(work.run::<burn_flex::Flex>(burn_flex::FlexDevice)),
        #[cfg(feature = "cuda")]
        BackendKind::Cuda => {
            let device = burn_cuda::CudaDevice::new(choice.index);
            // On the device's own thread Burn's calls are made at once, instead of being sent
            // there one by one.
            let there = device.clone();
            Ok(crate::cuda::on_device_thread(&device, || {
                work.run::<burn_cuda::Cuda>(there)
            }))
        }
        #[cfg(feature = "rocm")]
        BackendKind::Rocm => {
            Ok(work.run::<burn_rocm::Rocm>(burn_rocm::RocmDevice::new(choice.index)))
        }
        #[cfg(feature = "wgpu")]
        BackendKind::Vulkan | BackendKind::Metal | BackendKind::WebGpu
            if choice.kind.compiled_in() =>
        {
            let device = crate::cube::probe::wgpu_device(choice);
            Ok(work.run::<burn_wgpu::Wgpu>(device))
        }
        kind => Err(DeviceError::NotCompiledIn(kind)),
    }
}
