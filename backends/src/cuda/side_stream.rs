//! The side stream: work on it runs at the same time as later work on the main stream.

use std::sync::Arc;

use cudarc::driver::{CudaContext, CudaStream, DriverError, result, sys};

/// The side stream, and the event with which it waits for the main stream.
pub(super) struct SideStream {
    pub(super) stream: Arc<CudaStream>,
    main_reached: sys::CUevent,
}

impl SideStream {
    pub(super) fn new(context: &Arc<CudaContext>) -> Result<Self, DriverError> {
        context.bind_to_thread()?;
        Ok(Self {
            stream: context.new_stream()?,
            main_reached: result::event::create(sys::CUevent_flags::CU_EVENT_DISABLE_TIMING)?,
        })
    }

    /// Makes later work on the side stream wait for all work that `main` was given so far.
    ///
    /// # Errors
    /// The driver's.
    pub(super) fn wait_for(&self, main: &CudaStream) -> Result<(), DriverError> {
        // SAFETY: both streams and the event are of one context and live as long as the engine.
        unsafe { result::event::record(self.main_reached, main.cu_stream()) }?;
        let flags = sys::CUevent_wait_flags::CU_EVENT_WAIT_DEFAULT;
        // SAFETY: the side stream and the event live as long as the engine, as said above.
        unsafe { result::stream::wait_event(self.stream.cu_stream(), self.main_reached, flags) }
    }
}
