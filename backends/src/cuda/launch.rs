//! Kernels by name, and how they are started.

use std::collections::HashMap;
use std::ffi::{CString, c_void};
use std::sync::{Mutex, PoisonError};

use cudarc::driver::{CudaStream, DriverError, result, sys};

use super::launch_table::{Launch, launches};

/// An argument of a kernel.
#[derive(Clone, Copy, Debug)]
pub(super) enum Arg {
    /// Device memory; 0 for none.
    Pointer(u64),
    /// `int`.
    Int(i32),
    /// `long long`.
    Long(i64),
    /// `float`.
    Float(f32),
}

impl Arg {
    /// The letter of the kind in the table of launches.
    fn letter(&self) -> char {
        match self {
            Self::Pointer(_) => 'p',
            Self::Int(_) => 'i',
            Self::Long(_) => 'l',
            Self::Float(_) => 'f',
        }
    }

    fn address(&self) -> *mut c_void {
        match self {
            Self::Pointer(value) => std::ptr::from_ref(value).cast_mut().cast(),
            Self::Int(value) => std::ptr::from_ref(value).cast_mut().cast(),
            Self::Long(value) => std::ptr::from_ref(value).cast_mut().cast(),
            Self::Float(value) => std::ptr::from_ref(value).cast_mut().cast(),
        }
    }
}

/// The blocks of a kernel along x, y and z.
pub(super) type Grid = (u32, u32, u32);

/// The kernels of a device.
pub(super) struct Functions {
    module: sys::CUmodule,
    /// The kernels that were used so far.
    known: Mutex<HashMap<&'static str, (sys::CUfunction, Launch)>>,
}

impl Functions {
    /// The kernels of a loaded module, which must never be unloaded.
    pub(super) fn new(module: sys::CUmodule) -> Self {
        Self {
            module,
            known: Mutex::default(),
        }
    }

    fn find(&self, name: &str) -> Result<(sys::CUfunction, Launch), DriverError> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(&found) = known.get(name) {
            return Ok(found);
        }
        let launch = launches().find(|launch| launch.name == name);
        let launch = launch.ok_or(DriverError(sys::CUresult::CUDA_ERROR_NOT_FOUND))?;
        let c_name = CString::new(name).unwrap_or_default();
        // SAFETY: the module is never unloaded.
        let function = unsafe { result::module::get_function(self.module, c_name) }?;
        if launch.shared > 48 << 10 {
            let attribute =
                sys::CUfunction_attribute::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
            let bytes = launch.shared as i32;
            // SAFETY: the function is of a module that is never unloaded.
            unsafe { result::function::set_function_attribute(function, attribute, bytes) }?;
        }
        known.insert(launch.name, (function, launch));
        Ok((function, launch))
    }

    /// Starts a kernel on a stream, with the block that the [table](super::launch_table) says.
    ///
    /// # Errors
    /// The driver's; `CUDA_ERROR_INVALID_VALUE` if the arguments are not of the kinds that the
    /// table says.
    ///
    /// # Safety
    /// Pointers are of memory that is as large as the kernel expects and lives until it has ended.
    pub(super) unsafe fn launch(
        &self,
        stream: &CudaStream,
        name: &str,
        grid: Grid,
        args: &[Arg],
    ) -> Result<(), DriverError> {
        let (function, launch) = self.find(name)?;
        if !args.iter().map(Arg::letter).eq(launch.arguments.chars()) {
            return Err(DriverError(sys::CUresult::CUDA_ERROR_INVALID_VALUE));
        }
        let mut addresses: Vec<*mut c_void> = args.iter().map(Arg::address).collect();
        // SAFETY: the arguments are of the kernel's kinds and outlive the call; what pointers point
        // to is the caller's promise.
        unsafe {
            result::launch_kernel(
                function,
                grid,
                (launch.threads, 1, 1),
                launch.shared,
                stream.cu_stream(),
                &mut addresses,
            )
        }
    }
}
