//! The calls that work makes on our streams.

use std::cell::Cell;

use burn_cubecl::cubecl::cuda::CudaRuntime;
use burn_cubecl::cubecl::prelude::ComputeClient;
use burn_cubecl::cubecl::server::Handle;
use cudarc::driver::{DriverError, result};

use super::blas::Blas;
use super::lanes::{Lane, Lanes};
use super::launch::{Arg, Functions, Grid};
use super::scratch::Use;

/// The calls that work makes on our streams.
pub(super) struct Scope<'a> {
    lanes: &'a Lanes,
    functions: &'a Functions,
    blas: Option<&'a Blas>,
    client: &'a ComputeClient<CudaRuntime>,
    /// True once our streams wait for Burn's work.
    entered: Cell<bool>,
    /// True if they must wait for it once more, before the next work.
    reenter: Cell<bool>,
    /// True while work goes to the side stream.
    on_side: Cell<bool>,
    /// True once anything went to the side stream.
    side_used: Cell<bool>,
}

impl<'a> Scope<'a> {
    /// A scope in which nothing has been started.
    pub(super) fn new(
        lanes: &'a Lanes,
        functions: &'a Functions,
        blas: Option<&'a Blas>,
        client: &'a ComputeClient<CudaRuntime>,
    ) -> Self {
        Self {
            lanes,
            functions,
            blas,
            client,
            entered: Cell::new(false),
            reenter: Cell::new(false),
            on_side: Cell::new(false),
            side_used: Cell::new(false),
        }
    }

    /// Orders what was started, if anything was, before all work that comes later.
    ///
    /// # Errors
    /// The driver's.
    pub(super) fn leave(self) -> Result<(), DriverError> {
        match self.entered.get() {
            true => self.lanes.leave(self.side_used.get()),
            false => Ok(()),
        }
    }

    /// The address of Burn's memory, which the caller's handle keeps.
    pub(super) fn pointer(&self, handle: &Handle) -> u64 {
        if self.lanes.meet(handle.stream) && self.entered.get() {
            // Another thread's memory, whose stream our streams have not waited for yet.
            self.reenter.set(true);
        }
        match self.client.get_resource(handle.clone()) {
            Ok(resource) => resource.resource().ptr,
            // An operation of a backend returns a tensor and nothing else.
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
    pub(super) fn lane(&self) -> Result<Lane<'a>, DriverError> {
        if !self.entered.replace(true) {
            self.lanes.enter()?;
        } else if self.reenter.take() {
            self.lanes.enter()?;
            if self.on_side.get() {
                self.lanes.start_side_stream()?;
            }
        }
        Ok(self.lanes.lane(self.on_side.get()))
    }

    /// Starts `work` on the side stream. It runs at the same time as the work that is started after
    /// it on the main stream, so neither may read what the other writes; the run as a whole ends
    /// after both.
    ///
    /// # Errors
    /// The errors of `work`, or the driver's.
    pub(super) fn on_side_stream<T>(
        &self,
        work: impl FnOnce() -> Result<T, DriverError>,
    ) -> Result<T, DriverError> {
        self.lane()?;
        self.lanes.start_side_stream()?;
        self.side_used.set(true);
        self.on_side.set(true);
        let result = work();
        self.on_side.set(false);
        result
    }

    /// cuBLASLt, where [`Engine::has_blas`](super::engine::Engine::has_blas) says so.
    pub(super) fn blas(&self) -> Option<&'a Blas> {
        self.blas
    }

    /// Scratch memory of at least `bytes`, until the next call for the same use.
    ///
    /// # Errors
    /// The driver's, if there is none left.
    pub(super) fn scratch(&self, using: Use, bytes: usize) -> Result<u64, DriverError> {
        self.lanes.scratch(self.lane()?, using, bytes)
    }

    /// Starts a copy within the device's memory.
    ///
    /// # Errors
    /// The driver's.
    pub(super) fn copy(&self, source: u64, target: u64, bytes: usize) -> Result<(), DriverError> {
        let stream = self.lane()?.stream.cu_stream();
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
        let stream = self.lane()?.stream;
        // SAFETY: each caller's tensors have the sizes that its kernel expects, and keep the memory
        // until this is ordered before what comes later.
        unsafe { self.functions.launch(stream, name, grid, args) }
    }
}
