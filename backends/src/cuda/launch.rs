//! Kernels by name, and how they are started.

use std::collections::HashMap;
use std::ffi::{CString, c_void};
use std::sync::{Mutex, PoisonError};

use cudarc::driver::{CudaStream, DriverError, result, sys};

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
    fn address(&self) -> *mut c_void {
        match self {
            Self::Pointer(value) => std::ptr::from_ref(value).cast_mut().cast(),
            Self::Int(value) => std::ptr::from_ref(value).cast_mut().cast(),
            Self::Long(value) => std::ptr::from_ref(value).cast_mut().cast(),
            Self::Float(value) => std::ptr::from_ref(value).cast_mut().cast(),
        }
    }
}

/// The blocks of a kernel and their size.
#[derive(Clone, Copy, Debug)]
pub(super) struct Grid {
    /// Blocks.
    pub(super) blocks: (u32, u32, u32),
    /// Threads of a block.
    pub(super) threads: u32,
    /// Bytes of dynamic shared memory of a block.
    pub(super) shared: u32,
}

/// The kernels of a device.
pub(super) struct Functions {
    module: sys::CUmodule,
    /// The kernels that were used so far.
    known: Mutex<HashMap<String, sys::CUfunction>>,
}

impl Functions {
    /// The kernels of a loaded module, which must never be unloaded.
    pub(super) fn new(module: sys::CUmodule) -> Self {
        Self {
            module,
            known: Mutex::default(),
        }
    }

    fn find(&self, name: &str) -> Result<sys::CUfunction, DriverError> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(&function) = known.get(name) {
            return Ok(function);
        }
        let c_name = CString::new(name).unwrap_or_default();
        // SAFETY: the module is never unloaded.
        let function = unsafe { result::module::get_function(self.module, c_name) }?;
        known.insert(name.to_owned(), function);
        Ok(function)
    }

    /// Starts a kernel on a stream.
    ///
    /// # Errors
    /// The driver's.
    ///
    /// # Safety
    /// The arguments are those that the kernel's source declares, and pointers are of memory that
    /// lives until the kernel has ended.
    pub(super) unsafe fn launch(
        &self,
        stream: &CudaStream,
        name: &str,
        grid: Grid,
        args: &[Arg],
    ) -> Result<(), DriverError> {
        let function = self.find(name)?;
        let mut addresses: Vec<*mut c_void> = args.iter().map(Arg::address).collect();
        if grid.shared > 48 << 10 {
            let attribute =
                sys::CUfunction_attribute::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
            // SAFETY: the function is of a module that is never unloaded.
            unsafe {
                result::function::set_function_attribute(function, attribute, grid.shared as i32)
            }?;
        }
        // SAFETY: by the caller, and the addresses are of arguments that outlive the call.
        unsafe {
            result::launch_kernel(
                function,
                grid.blocks,
                (grid.threads, 1, 1),
                grid.shared,
                stream.cu_stream(),
                &mut addresses,
            )
        }
    }
}
