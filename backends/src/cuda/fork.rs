//! A second stream of ours, for work that needs nothing of what runs beside it.

use std::sync::Arc;

use cudarc::driver::{CudaContext, CudaStream, DriverError, result, sys};

/// The stream, and how it leaves the first one.
pub(super) struct Fork {
    pub(super) stream: Arc<CudaStream>,
    left: sys::CUevent,
}

impl Fork {
    pub(super) fn new(context: &Arc<CudaContext>) -> Result<Self, DriverError> {
        context.bind_to_thread()?;
        Ok(Self {
            stream: context.new_stream()?,
            left: result::event::create(sys::CUevent_flags::CU_EVENT_DISABLE_TIMING)?,
        })
    }

    /// What the stream is given from here on comes after all that `from` was given so far.
    pub(super) fn leave(&self, from: &CudaStream) -> Result<(), DriverError> {
        // SAFETY: streams and event are of one context and live as long as the engine.
        unsafe { result::event::record(self.left, from.cu_stream()) }?;
        let flags = sys::CUevent_wait_flags::CU_EVENT_WAIT_DEFAULT;
        // SAFETY: as above.
        unsafe { result::stream::wait_event(self.stream.cu_stream(), self.left, flags) }
    }
}
