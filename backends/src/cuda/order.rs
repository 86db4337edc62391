//! The order of our streams, Burn's, and the copies beside them.
//!
//! Burn's streams are private. Where nothing is copied while the device computes, our streams and
//! Burn's wait for each other through the context, which means all work that was submitted to it.
//! Copies into [slots](crate::upload::SlotSink) must neither be held up that way nor hold up
//! kernels. So while there are slots, events are recorded on Burn's streams one by one, by their
//! [addresses](super::streams), and only marks order copies and work. Where CubeCL does not show
//! its streams, the context's calls do the same, but nothing runs at the same time as copies.
//!
//! All methods that wait or record run on the device's thread, through `ComputeClient::exclusive`,
//! and so one after the other: an event that was recorded again leaves earlier waits as they were.

use std::collections::HashMap;
use std::ffi::{CStr, c_void};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use burn_cubecl::cubecl::stream_id::StreamId;
use burn_cuda::CudaDevice;
use cudarc::driver::sys::{CUevent_wait_flags, CUstream};
use cudarc::driver::{CudaContext, CudaEvent, CudaStream, DriverError, result, sys};

use super::streams::Streams;

/// A point in a device's work, or in the copies to it: the events that stand for it.
pub struct Mark(pub(super) Vec<CudaEvent>);

/// Makes streams of a device wait for each other.
pub(super) struct Order {
    context: Arc<CudaContext>,
    inward: CudaEvent,
    /// The events of the main stream and of the side stream.
    outward: [CudaEvent; 2],
    context_calls: Option<ContextCalls>,
    named: Mutex<Named>,
}

/// Burn's streams, while there are slots.
#[derive(Default)]
struct Named {
    users: usize,
    streams: Option<Streams>,
}

/// Keeps Burn's streams named.
pub(super) struct InUse(Arc<Order>);

/// `cuCtxRecordEvent` and `cuCtxWaitEvent`, which drivers have since CUDA 12.5.
#[derive(Clone, Copy)]
struct ContextCalls {
    record: ContextCall,
    wait: ContextCall,
}

type ContextCall = unsafe extern "C" fn(sys::CUcontext, sys::CUevent) -> sys::CUresult;

impl Order {
    /// Looks the order of a device up; the first call for a device makes it.
    ///
    /// # Errors
    /// The driver's.
    pub(super) fn of(device: &CudaDevice) -> Result<Arc<Self>, DriverError> {
        static ORDERS: OnceLock<Mutex<HashMap<usize, Arc<Order>>>> = OnceLock::new();
        let orders = ORDERS.get_or_init(Mutex::default).lock();
        let mut orders = orders.unwrap_or_else(PoisonError::into_inner);
        if let Some(order) = orders.get(&device.index) {
            return Ok(order.clone());
        }
        let context = CudaContext::new(device.index)?;
        let order = Arc::new(Self {
            inward: context.new_event(None)?,
            outward: [context.new_event(None)?, context.new_event(None)?],
            context_calls: ContextCalls::find(),
            named: Mutex::default(),
            context,
        });
        orders.insert(device.index, order.clone());
        Ok(order)
    }

    /// The context of the streams.
    pub(super) fn context(&self) -> &Arc<CudaContext> {
        &self.context
    }

    /// Names Burn's streams for as long as the result is kept.
    pub(super) fn use_slots(self: &Arc<Self>, device: &CudaDevice) -> InUse {
        let streams = Streams::new(device);
        let mut named = self.lock();
        named.users += 1;
        named.streams.get_or_insert(streams);
        drop(named);
        InUse(self.clone())
    }

    /// Makes sure that the stream of Burn's with this number is known while there are slots;
    /// `true` if earlier calls may not have known it.
    pub(super) fn meet(&self, stream: StreamId) -> bool {
        let mut named = self.lock();
        named
            .streams
            .as_mut()
            .is_some_and(|streams| streams.meet(stream))
    }

    /// The number of Burn's streams that marks name; none where marks are the context's.
    pub(super) fn named_streams(&self) -> usize {
        let named = self.lock();
        named.streams.as_ref().map_or(0, |s| s.all().len())
    }

    /// Makes `stream` wait for all work that Burn has submitted.
    pub(super) fn enter(&self, stream: &CudaStream) -> Result<(), DriverError> {
        if let Some(streams) = self.streams() {
            return streams.into_iter().try_for_each(|theirs| {
                record(&self.inward, theirs)?;
                stream.wait(&self.inward)
            });
        }
        let Some(calls) = self.context_calls else {
            return self.context.synchronize();
        };
        calls.record(&self.context, &self.inward)?;
        stream.wait(&self.inward)
    }

    /// Makes all work that Burn submits later wait for the main stream, and for the side stream
    /// where that had work.
    pub(super) fn leave(
        &self,
        stream: &CudaStream,
        side: Option<&CudaStream>,
    ) -> Result<(), DriverError> {
        let streams = std::iter::once(stream).chain(side);
        for (stream, event) in streams.zip(&self.outward) {
            event.record(stream)?;
            self.wait(event)?;
        }
        Ok(())
    }

    /// Makes all work that Burn submits later wait for the copies in front of a mark.
    pub(super) fn read_after(&self, written: &Mark) -> Result<(), DriverError> {
        self.context.bind_to_thread()?;
        written.0.iter().try_for_each(|event| self.wait(event))
    }

    /// Marks all work that Burn has submitted. Our streams' is in it, since Burn's streams wait for
    /// that after [`leave`](Self::leave).
    pub(super) fn used(&self) -> Result<Mark, DriverError> {
        self.context.bind_to_thread()?;
        if let Some(streams) = self.streams() {
            let events = streams.into_iter().map(|theirs| {
                let event = self.context.new_event(None)?;
                record(&event, theirs)?;
                Ok(event)
            });
            return events.collect::<Result<_, _>>().map(Mark);
        }
        let Some(calls) = self.context_calls else {
            self.context.synchronize()?;
            return Ok(Mark(Vec::new()));
        };
        let event = self.context.new_event(None)?;
        calls.record(&self.context, &event)?;
        Ok(Mark(vec![event]))
    }

    /// Makes all work that Burn submits later wait for an event.
    fn wait(&self, event: &CudaEvent) -> Result<(), DriverError> {
        if let Some(streams) = self.streams() {
            return streams
                .into_iter()
                .try_for_each(|theirs| wait(theirs, event));
        }
        match self.context_calls {
            Some(calls) => calls.wait(&self.context, event),
            None => event.synchronize(),
        }
    }

    /// Burn's streams, the calling thread's among them, while there are slots and CubeCL shows
    /// them.
    fn streams(&self) -> Option<Vec<CUstream>> {
        let mut named = self.lock();
        let streams = named.streams.as_mut()?;
        streams.meet(StreamId::current());
        let streams: Vec<_> = streams.all().collect();
        (!streams.is_empty()).then_some(streams)
    }

    fn lock(&self) -> MutexGuard<'_, Named> {
        self.named.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl InUse {
    /// The order whose streams are named.
    pub(super) fn order(&self) -> &Arc<Order> {
        &self.0
    }
}

impl Drop for InUse {
    fn drop(&mut self) {
        let mut named = self.0.lock();
        named.users -= 1;
        if named.users == 0 {
            named.streams = None;
        }
    }
}

/// Records an event on a stream of Burn's.
fn record(event: &CudaEvent, stream: CUstream) -> Result<(), DriverError> {
    // SAFETY: CubeCL never destroys its streams; the event is of the same context, the device's
    // primary one.
    unsafe { result::event::record(event.cu_event(), stream) }
}

/// Makes a stream of Burn's wait for an event.
fn wait(stream: CUstream, event: &CudaEvent) -> Result<(), DriverError> {
    let flags = CUevent_wait_flags::CU_EVENT_WAIT_DEFAULT;
    // SAFETY: as above.
    unsafe { result::stream::wait_event(stream, event.cu_event(), flags) }
}

impl ContextCalls {
    /// Records an event behind all that is submitted to a context.
    fn record(self, context: &CudaContext, event: &CudaEvent) -> Result<(), DriverError> {
        // SAFETY: context and event belong together and both live.
        unsafe { (self.record)(context.cu_ctx(), event.cu_event()) }.result()
    }

    /// Makes all that is submitted to a context later wait for an event.
    fn wait(self, context: &CudaContext, event: &CudaEvent) -> Result<(), DriverError> {
        // SAFETY: context and event belong together and both live.
        unsafe { (self.wait)(context.cu_ctx(), event.cu_event()) }.result()
    }

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
