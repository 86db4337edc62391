//! Asks for CUDA's libraries and devices before Burn does, since Burn's runtime panics where
//! one is missing.

use std::path::PathBuf;

use cudarc::driver::{DriverError, result, sys};

use super::driver_message::driver_message;
use crate::device::kind::{BackendKind, DeviceError, FoundDevice, Library};
use crate::storage::DeviceMemory;

/// The devices, once the driver, the run-time compiler and its headers are all found.
pub(crate) fn devices() -> Result<Vec<FoundDevice>, DeviceError> {
    // SAFETY: looks for a shared library by name; the NVIDIA libraries run no hostile code.
    if !unsafe { sys::is_culib_present() } {
        return Err(missing(Library::CudaDriver));
    }
    // SAFETY: looks for a shared library by name too.
    if !unsafe { cudarc::nvrtc::sys::is_culib_present() } {
        return Err(missing(Library::CudaCompiler));
    }
    if !headers_present() {
        return Err(missing(Library::CudaHeaders));
    }
    result::init().map_err(failed)?;
    let count = result::device::get_count().map_err(failed)?;
    (0..count)
        .map(|ordinal| {
            let device = result::device::get(ordinal).map_err(failed)?;
            let name = result::device::get_name(device).map_err(failed)?;
            // SAFETY: `device` was just given by the driver.
            let memory = unsafe { result::device::total_mem(device) }.map_err(failed)?;
            Ok(FoundDevice {
                index: ordinal as usize,
                name,
                memory: Some(memory as u64),
            })
        })
        .collect()
}

/// Free and total memory of a device, as the driver tells.
pub(crate) fn memory(index: usize) -> Option<DeviceMemory> {
    let context = cudarc::driver::CudaContext::new(index).ok()?;
    context.bind_to_thread().ok()?;
    let (free, total) = result::mem_get_info().ok()?;
    Some(DeviceMemory {
        free: free as u64,
        total: total as u64,
    })
}

/// Tells whether CUDA's headers are found, which Burn's kernels are compiled with.
fn headers_present() -> bool {
    let mut roots: Vec<PathBuf> = std::env::var_os("CUDA_PATH")
        .map(PathBuf::from)
        .into_iter()
        .collect();
    if roots.is_empty() {
        roots.extend(["/usr/local/cuda", "/usr"].map(PathBuf::from));
    }
    roots
        .iter()
        .any(|root| root.join("include").join("cuda_fp16.h").exists())
}

fn missing(library: Library) -> DeviceError {
    DeviceError::MissingLibrary {
        kind: BackendKind::Cuda,
        library,
    }
}

fn failed(error: DriverError) -> DeviceError {
    DeviceError::Driver {
        kind: BackendKind::Cuda,
        message: driver_message(error),
    }
}
