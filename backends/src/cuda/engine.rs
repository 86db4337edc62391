//! Streams of our own beside Burn's.
//!
//! All work goes through [`Engine::run`]. It runs on CubeCL's device thread, where everything that
//! Burn was asked for before has been submitted; it makes our streams wait for what Burn has
//! submitted, and what Burn submits later wait for our streams ([`Order`]). Both are waits of the
//! device. So the order of calls is the order of effects, and memory that Burn frees after a call
//! is not reused before our work with it has ended.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use burn_cubecl::cubecl::cuda::CudaRuntime;
use burn_cubecl::cubecl::prelude::ComputeClient;
use burn_cuda::CudaDevice;
use cudarc::driver::{DriverError, sys};

use super::blas::{Blas, Product};
use super::compile::{self, CompileError};
use super::driver_message::driver_message;
use super::lanes::Lanes;
use super::launch::Functions;
use super::order::Order;
use super::scope::Scope;

/// The reasons why there is no engine for a device.
#[derive(Clone, Debug, thiserror::Error)]
pub(super) enum EngineError {
    /// The driver refuses.
    #[error("the driver answers: {0}")]
    Driver(String),
    /// The kernels cannot be compiled or loaded.
    #[error("its kernels cannot be made: {0}")]
    Kernels(String),
}

impl From<DriverError> for EngineError {
    fn from(error: DriverError) -> Self {
        Self::Driver(driver_message(error))
    }
}

impl From<CompileError> for EngineError {
    fn from(error: CompileError) -> Self {
        Self::Kernels(error.to_string())
    }
}

/// The compute capability whose own instructions some kernels use.
const HOPPER: (i32, i32) = (9, 0);

/// Our streams on one device, and what runs on them.
pub(super) struct Engine {
    lanes: Lanes,
    functions: Functions,
    /// Matrix products; none where the library is missing.
    blas: Option<Blas>,
    shared_memory: usize,
    capability: (i32, i32),
}

// SAFETY: the handles of the driver may be used from any thread; scratch memory and the table of
// functions are behind locks.
unsafe impl Send for Engine {}
// SAFETY: the same holds for shared use.
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
/// The message of the driver or of the compiler.
pub(super) fn prepare(device: &CudaDevice) -> Result<(), EngineError> {
    Engine::of(device).map(drop)
}

impl Engine {
    /// Looks the engine of a device up; the first call for a device makes it.
    ///
    /// # Errors
    /// The reason why there is none, the same at each call.
    pub(super) fn of(device: &CudaDevice) -> Result<Arc<Self>, EngineError> {
        let mut engines = engines().lock().unwrap_or_else(PoisonError::into_inner);
        let engine = engines
            .entry(device.index)
            .or_insert_with(|| Self::new(device).map(Arc::new));
        engine.clone()
    }

    fn new(device: &CudaDevice) -> Result<Self, EngineError> {
        let order = Order::of(device)?;
        let context = order.context();
        let functions = Functions::new(compile::module(context)?);
        let blas = Blas::new(context);
        let shared_memory = context.attribute(
            sys::CUdevice_attribute::CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_MULTIPROCESSOR,
        )?;
        Ok(Self {
            shared_memory: usize::try_from(shared_memory).unwrap_or(0),
            capability: context.compute_capability()?,
            functions,
            blas,
            lanes: Lanes::new(order)?,
        })
    }

    /// Major and minor number of the device's generation.
    pub(super) fn capability(&self) -> (i32, i32) {
        self.capability
    }

    /// Tells whether the kernels for Hopper's own instructions are there.
    pub(super) fn is_hopper(&self) -> bool {
        self.capability == HOPPER
    }

    /// Bytes of shared memory of a multiprocessor.
    pub(super) fn shared_memory(&self) -> usize {
        self.shared_memory
    }

    /// Tells whether cuBLASLt is there.
    pub(super) fn has_blas(&self) -> bool {
        self.blas.is_some()
    }

    /// Tells whether cuBLASLt is there and knows a product.
    pub(super) fn can_multiply(&self, product: Product) -> bool {
        self.blas.as_ref().is_some_and(|blas| blas.knows(product))
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
            self.lanes.bind_to_thread()?;
            // Allocations come first: they are Burn's work, which ours must come after.
            let scope = Scope::new(&self.lanes, &self.functions, self.blas.as_ref(), client);
            let result = work(&scope)?;
            scope.leave()?;
            Ok::<T, DriverError>(result)
        });
        match done {
            Ok(Ok(result)) => result,
            // An operation of a backend returns a tensor and nothing else.
            Ok(Err(error)) => panic!("CUDA: {}", driver_message(error)),
            Err(error) => panic!("CUDA: {error}"),
        }
    }
}
