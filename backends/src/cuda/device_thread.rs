//! CubeCL's own thread for a device.

use burn_cubecl::cubecl::cuda::CudaRuntime;
use burn_cubecl::cubecl::prelude::Runtime;
use burn_cuda::CudaDevice;

/// Runs `work` on the device's thread, where Burn's calls are made at once instead of being sent
/// there one by one.
///
/// # Panics
/// If `work` panics.
pub(crate) fn on_device_thread<T: Send + 'static>(
    device: &CudaDevice,
    work: impl FnOnce() -> T + Send,
) -> T {
    match CudaRuntime::client(device).exclusive(work) {
        Ok(result) => result,
        // `work` has panicked there; the panic goes on here.
        Err(error) => panic!("CUDA: {error}"),
    }
}

/// Runs `work` with each tensor in memory of just its size, which the next of that size takes
/// over. Burn's own pools take memory in pages that grow with the device's.
pub(super) fn with_exact_allocations<T: Send>(
    device: &CudaDevice,
    work: impl FnOnce() -> T + Send,
) -> T {
    match CudaRuntime::client(device).memory_persistent_allocation((), |()| work()) {
        Ok(result) => result,
        // The device's thread has ended.
        Err(error) => panic!("CUDA: {error}"),
    }
}
