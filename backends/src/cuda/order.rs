//! The order of our stream and Burn's.

use std::ffi::{CStr, c_void};
use std::sync::Arc;

use cudarc::driver::{CudaContext, CudaStream, DriverError, result, sys};

/// Makes streams wait for each other through their context, since Burn's own stream is private.
pub(super) struct Order {
    inward: sys::CUevent,
    /// The events of the main stream and of the side stream.
    outward: [sys::CUevent; 2],
    context_calls: Option<ContextCalls>,
}

/// `cuCtxRecordEvent` and `cuCtxWaitEvent`, which drivers have since CUDA 12.5.
#[derive(Clone, Copy)]
struct ContextCalls {
    record: ContextCall,
    wait: ContextCall,
}

type ContextCall = unsafe extern "C" fn(sys::CUcontext, sys::CUevent) -> sys::CUresult;

impl Order {
    pub(super) fn new(context: &Arc<CudaContext>) -> Result<Self, DriverError> {
        context.bind_to_thread()?;
        let event = || result::event::create(sys::CUevent_flags::CU_EVENT_DISABLE_TIMING);
        Ok(Self {
            inward: event()?,
            outward: [event()?, event()?],
            context_calls: ContextCalls::find(),
        })
    }

    /// Makes `stream` wait for all work that is submitted to the context.
    pub(super) fn enter(
        &self,
        context: &CudaContext,
        stream: &CudaStream,
    ) -> Result<(), DriverError> {
        let Some(calls) = self.context_calls else {
            return context.synchronize();
        };
        // SAFETY: context and event belong together and live as long as the engine.
        unsafe { (calls.record)(context.cu_ctx(), self.inward) }.result()?;
        let flags = sys::CUevent_wait_flags::CU_EVENT_WAIT_DEFAULT;
        // SAFETY: as above.
        unsafe { result::stream::wait_event(stream.cu_stream(), self.inward, flags) }
    }

    /// Makes all work that is submitted to the context later wait for the main stream, and for the
    /// side stream where that had work.
    pub(super) fn leave(
        &self,
        context: &CudaContext,
        stream: &CudaStream,
        side: Option<&CudaStream>,
    ) -> Result<(), DriverError> {
        let streams = std::iter::once(stream).chain(side);
        for (stream, event) in streams.zip(self.outward) {
            let Some(calls) = self.context_calls else {
                stream.synchronize()?;
                continue;
            };
            // SAFETY: stream, context and event belong together and live as long as the engine.
            unsafe { result::event::record(event, stream.cu_stream()) }?;
            // SAFETY: as above.
            unsafe { (calls.wait)(context.cu_ctx(), event) }.result()?;
        }
        Ok(())
    }
}

impl ContextCalls {
    fn find() -> Option<Self> {
        Some(Self {
            record: Self::entry_point(c"cuCtxRecordEvent")?,
            wait: Self::entry_point(c"cuCtxWaitEvent")?,
        })
    }

    /// A function of the driver, by name, or `None` from a driver that is older than it.
    fn entry_point(name: &CStr) -> Option<ContextCall> {
        const CUDA_12_5: i32 = 12_050;
        let mut pointer: *mut c_void = std::ptr::null_mut();
        let mut status = sys::CUdriverProcAddressQueryResult::CU_GET_PROC_ADDRESS_SYMBOL_NOT_FOUND;
        // SAFETY: asks the driver for a symbol; both results are written before they are read.
        let answer = unsafe {
            sys::cuGetProcAddress_v2(name.as_ptr(), &mut pointer, CUDA_12_5, 0, &mut status)
        };
        if answer.result().is_err() || pointer.is_null() {
            return None;
        }
        // SAFETY: the driver's functions of these names have this signature (CUDA driver API).
        Some(unsafe { std::mem::transmute::<*mut c_void, ContextCall>(pointer) })
    }
}
