//! A stream beside Burn's.
//!
//! All work goes through [`Engine::run`]. It runs on CubeCL's device thread, where everything that
//! Burn was asked for before has been submitted; it makes our stream wait for what is submitted on
//! the device, and what is submitted later wait for our stream. Both are waits of the device. So
//! the order of calls is the order of effects, and memory that Burn frees after a call is not
//! reused before our work with it has ended.

use std::cell::Cell;
use std::collections::HashMap;
use std::ffi::{CString, c_void};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use burn_cubecl::cubecl::cuda::CudaRuntime;
use burn_cubecl::cubecl::prelude::{ComputeClient, Runtime};
use burn_cubecl::cubecl::server::Handle;
use burn_cuda::CudaDevice;
use cudarc::driver::{CudaContext, CudaStream, DriverError, result, sys};

use super::blas::{Blas, Product};
use super::compile::{self, CompileError};
use super::fork::Fork;
use super::order::Order;
use super::probe;
use super::scratch::{Scratch, Use};

/// Why there is no engine for a device.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum EngineError {
    /// The driver refuses.
    #[error("the driver answers: {0}")]
    Driver(String),
    /// The kernels cannot be compiled or loaded.
    #[error("its kernels cannot be made: {0}")]
    Kernels(String),
}

impl From<DriverError> for EngineError {
    fn from(error: DriverError) -> Self {
        Self::Driver(probe::message(error))
    }
}

impl From<CompileError> for EngineError {
    fn from(error: CompileError) -> Self {
        Self::Kernels(error.to_string())
    }
}

/// The compute capability whose own instructions some kernels use.
const HOPPER: (i32, i32) = (9, 0);

/// Our stream on one device, and what runs on it.
pub(super) struct Engine {
    context: Arc<CudaContext>,
    stream: Arc<CudaStream>,
    order: Order,
    fork: Fork,
    shared_memory: usize,
    capability: (i32, i32),
    module: sys::CUmodule,
    /// Kernels by name, as they were first used.
    functions: Mutex<HashMap<String, sys::CUfunction>>,
    /// Matrix products; none where the library is missing.
    blas: Option<Blas>,
    /// Of the stream and of the one beside it.
    scratch: [Mutex<Scratch>; 2],
}

// SAFETY: handles of the driver, which may be used from any thread; the scratch memory is behind
// a lock.
unsafe impl Send for Engine {}
// SAFETY: as above.
unsafe impl Sync for Engine {}

/// The engines by device, made once.
type Engines = Mutex<HashMap<usize, Result<Arc<Engine>, EngineError>>>;

fn engines() -> &'static Engines {
    static ENGINES: OnceLock<Engines> = OnceLock::new();
    ENGINES.get_or_init(Engines::default)
}

/// Makes the engine of a device, which compiles the kernels where no earlier run has.
///
/// # Errors
/// What the driver or the compiler says.
pub(crate) fn prepare(device: &CudaDevice) -> Result<(), EngineError> {
    Engine::of(device).map(drop)
}

impl Engine {
    /// The engine of a device.
    ///
    /// # Errors
    /// Why there is none, the same at each call.
    pub(super) fn of(device: &CudaDevice) -> Result<Arc<Self>, EngineError> {
        let mut engines = engines().lock().unwrap_or_else(PoisonError::into_inner);
        let engine = engines
            .entry(device.index)
            .or_insert_with(|| Self::new(device).map(Arc::new));
        engine.clone()
    }

    fn new(device: &CudaDevice) -> Result<Self, EngineError> {
        let context = CudaContext::new(device.index)?;
        let stream = context.new_stream()?;
        let module = compile::module(&context)?;
        let blas = Blas::new(&context);
        let shared_memory = context.attribute(
            sys::CUdevice_attribute::CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_MULTIPROCESSOR,
        )?;
        Ok(Self {
            order: Order::new(&context)?,
            fork: Fork::new(&context)?,
            shared_memory: usize::try_from(shared_memory).unwrap_or(0),
            capability: context.compute_capability()?,
            module,
            functions: Mutex::default(),
            blas,
            scratch: Default::default(),
            stream,
            context,
        })
    }

    /// Major and minor number of the device's generation.
    pub(super) fn capability(&self) -> (i32, i32) {
        self.capability
    }

    /// Whether the kernels for Hopper's own instructions are there.
    pub(super) fn is_hopper(&self) -> bool {
        self.capability == HOPPER
    }

    /// Bytes of shared memory of a multiprocessor.
    pub(super) fn shared_memory(&self) -> usize {
        self.shared_memory
    }

    /// Matrix products by cuBLASLt, if it is there.
    pub(super) fn has_blas(&self) -> bool {
        self.blas.is_some()
    }

    /// Whether cuBLASLt is there and knows a product.
    pub(super) fn can_multiply(&self, product: Product) -> bool {
        self.blas.as_ref().is_some_and(|blas| blas.knows(product))
    }

    fn function(&self, name: &str) -> Result<sys::CUfunction, DriverError> {
        let mut known = self
            .functions
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(&function) = known.get(name) {
            return Ok(function);
        }
        let c_name = CString::new(name).unwrap_or_default();
        // SAFETY: the module is never unloaded.
        let function = unsafe { result::module::get_function(self.module, c_name) }?;
        known.insert(name.to_owned(), function);
        Ok(function)
    }

    /// Runs `work` on the device thread, in order with Burn's work.
    ///
    /// # Panics
    /// If the driver fails, as Burn's own operations do: they have no way to return an error.
    pub(super) fn run<T: Send + 'static>(
        &self,
        client: &ComputeClient<CudaRuntime>,
        work: impl FnOnce(&Scope<'_>) -> Result<T, DriverError> + Send,
    ) -> T {
        let done = client.exclusive(|| {
            self.context.bind_to_thread()?;
            // Allocations come first: they are Burn's work, which ours must come after.
            let scope = Scope {
                engine: self,
                client,
                entered: Cell::new(false),
                beside: Cell::new(false),
                forked: Cell::new(false),
            };
            let result = work(&scope)?;
            if scope.entered.get() {
                let beside = scope.forked.get().then_some(&*self.fork.stream);
                self.order.leave(&self.context, &self.stream, beside)?;
            }
            Ok::<T, DriverError>(result)
        });
        match done {
            Ok(Ok(result)) => result,
            // An operation of a backend returns a tensor and nothing else.
            Ok(Err(error)) => panic!("CUDA: {}", probe::message(error)),
            Err(error) => panic!("CUDA: {error}"),
        }
    }
}

/// What work may do on the engine's stream.
pub(super) struct Scope<'a> {
    engine: &'a Engine,
    client: &'a ComputeClient<CudaRuntime>,
    /// Whether our stream waits for Burn's work already.
    entered: Cell<bool>,
    /// Whether what is started goes to the stream beside ours, and whether anything did.
    beside: Cell<bool>,
    forked: Cell<bool>,
}

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

/// How a kernel is spread over the device.
#[derive(Clone, Copy, Debug)]
pub(super) struct Grid {
    /// Blocks.
    pub(super) blocks: (u32, u32, u32),
    /// Threads of a block.
    pub(super) threads: u32,
    /// Bytes of dynamic shared memory of a block.
    pub(super) shared: u32,
}

impl Scope<'_> {
    /// The address of Burn's memory, which the caller's handle keeps.
    pub(super) fn pointer(&self, handle: &Handle) -> u64 {
        match self.client.get_resource(handle.clone()) {
            Ok(resource) => resource.resource().ptr,
            // As in `Engine::run`: there is nobody to return it to.
            Err(error) => panic!("CUDA: memory of a tensor: {error:?}"),
        }
    }

    /// Takes memory of Burn's. All of it must be taken before the first launch.
    pub(super) fn empty(&self, bytes: usize) -> Handle {
        debug_assert!(
            !self.entered.get(),
            "memory is taken before the first launch"
        );
        self.client.empty(bytes.max(1))
    }

    /// The stream that work goes to, ordered after Burn's work.
    ///
    /// # Errors
    /// The driver's.
    pub(super) fn stream(&self) -> Result<&Arc<CudaStream>, DriverError> {
        if !self.entered.replace(true) {
            self.engine
                .order
                .enter(&self.engine.context, &self.engine.stream)?;
        }
        Ok(match self.beside.get() {
            true => &self.engine.fork.stream,
            false => &self.engine.stream,
        })
    }

    /// What `work` starts runs beside what is started after it, which must need nothing of it nor change
    /// what it needs; the run as a whole ends after both.
    ///
    /// # Errors
    /// Those of `work`, or the driver's.
    pub(super) fn beside<T>(
        &self,
        work: impl FnOnce() -> Result<T, DriverError>,
    ) -> Result<T, DriverError> {
        self.engine.fork.leave(self.stream()?)?;
        self.forked.set(true);
        self.beside.set(true);
        let result = work();
        self.beside.set(false);
        result
    }

    /// 0, or 1 beside our stream: which of what streams have of their own.
    pub(super) fn lane(&self) -> usize {
        usize::from(self.beside.get())
    }

    /// cuBLASLt, where [`Engine::has_blas`] says so.
    pub(super) fn blas(&self) -> Option<&Blas> {
        self.engine.blas.as_ref()
    }

    /// Memory of the engine's own, of at least `bytes`, until the next call for the same use.
    ///
    /// # Errors
    /// The driver's, if there is none left.
    pub(super) fn scratch(&self, using: Use, bytes: usize) -> Result<u64, DriverError> {
        let stream = self.stream()?;
        let mut scratch = self.engine.scratch[self.lane()]
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        scratch.of(using, bytes, stream)
    }

    /// Starts a copy within the device's memory.
    ///
    /// # Errors
    /// The driver's.
    pub(super) fn copy(&self, source: u64, target: u64, bytes: usize) -> Result<(), DriverError> {
        let stream = self.stream()?.cu_stream();
        if bytes == 0 {
            return Ok(());
        }
        // SAFETY: both are of memory that the caller's tensors keep until this is ordered before
        // what comes later, and hold so many bytes.
        unsafe { result::memcpy_dtod_async(target, source, bytes, stream) }
    }

    /// Starts a kernel.
    ///
    /// # Errors
    /// The driver's.
    pub(super) fn launch(&self, name: &str, grid: Grid, args: &[Arg]) -> Result<(), DriverError> {
        let function = self.engine.function(name)?;
        let stream = self.stream()?.cu_stream();
        let mut addresses: Vec<*mut c_void> = args.iter().map(Arg::address).collect();
        if grid.shared > 48 << 10 {
            let attribute =
                sys::CUfunction_attribute::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
            // SAFETY: the function is of a module that lives as long as the engine.
            unsafe {
                result::function::set_function_attribute(function, attribute, grid.shared as i32)
            }?;
        }
        // SAFETY: arguments are those that the kernel's source declares, pointers are of memory
        // that the caller's tensors keep until this is ordered before what comes later.
        unsafe {
            result::launch_kernel(
                function,
                grid.blocks,
                (grid.threads, 1, 1),
                grid.shared,
                stream,
                &mut addresses,
            )
        }
    }
}

/// Runs `work` on the device's own thread, where Burn's calls are made at once instead of being
/// sent there one by one.
///
/// # Panics
/// If `work` does.
pub(crate) fn near<T: Send + 'static>(device: &CudaDevice, work: impl FnOnce() -> T + Send) -> T {
    match CudaRuntime::client(device).exclusive(work) {
        Ok(result) => result,
        // `work` has panicked there; the panic goes on here.
        Err(error) => panic!("CUDA: {error}"),
    }
}

/// Runs `work` with each tensor in memory of just its size, which the next of that size takes
/// over. Burn's own pools take memory in pages that grow with the device's.
pub(crate) fn in_exact_memory<T: Send>(device: &CudaDevice, work: impl FnOnce() -> T + Send) -> T {
    match CudaRuntime::client(device).memory_persistent_allocation((), |()| work()) {
        Ok(result) => result,
        // The device's thread has ended: as in `near`.
        Err(error) => panic!("CUDA: {error}"),
    }
}
