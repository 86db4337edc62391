//! Our two streams on a device, and what each of them has of its own.

use std::sync::{Arc, Mutex, PoisonError};

use burn_cubecl::cubecl::stream_id::StreamId;
use cudarc::driver::{CudaStream, DriverError};

use super::order::Order;
use super::scratch::{Scratch, Use};
use super::side_stream::SideStream;

/// One of the streams.
#[derive(Clone, Copy)]
pub(super) struct Lane<'a> {
    /// The stream.
    pub(super) stream: &'a CudaStream,
    /// 0 for the main stream, 1 for the side stream.
    pub(super) index: usize,
}

/// The main stream and the side stream.
pub(super) struct Lanes {
    main: Arc<CudaStream>,
    side: SideStream,
    order: Arc<Order>,
    scratch: [Mutex<Scratch>; 2],
}

impl Lanes {
    /// Makes the streams of the device of an order.
    ///
    /// # Errors
    /// The driver's.
    pub(super) fn new(order: Arc<Order>) -> Result<Self, DriverError> {
        Ok(Self {
            main: order.context().new_stream()?,
            side: SideStream::new(order.context())?,
            scratch: Default::default(),
            order,
        })
    }

    /// Makes the device's context current on this thread.
    ///
    /// # Errors
    /// The driver's.
    pub(super) fn bind_to_thread(&self) -> Result<(), DriverError> {
        self.order.context().bind_to_thread()
    }

    /// Makes the main stream wait for all work that Burn has submitted to the device.
    ///
    /// # Errors
    /// The driver's.
    pub(super) fn enter(&self) -> Result<(), DriverError> {
        self.order.enter(&self.main)
    }

    /// Takes note of a stream of Burn's whose work ours comes after; `true` if
    /// [`enter`](Self::enter) may not have known it.
    pub(super) fn meet(&self, stream: StreamId) -> bool {
        self.order.meet(stream)
    }

    /// Makes all work that Burn submits to the device later wait for our streams, of which the
    /// side stream may have had no work.
    ///
    /// # Errors
    /// The driver's.
    pub(super) fn leave(&self, with_side: bool) -> Result<(), DriverError> {
        let side = with_side.then_some(&*self.side.stream);
        self.order.leave(&self.main, side)
    }

    /// Makes the side stream wait for what the main stream has been given so far.
    ///
    /// # Errors
    /// The driver's.
    pub(super) fn start_side_stream(&self) -> Result<(), DriverError> {
        self.side.wait_for(&self.main)
    }

    /// The side stream, or the main stream.
    pub(super) fn lane(&self, side: bool) -> Lane<'_> {
        Lane {
            stream: if side { &self.side.stream } else { &self.main },
            index: usize::from(side),
        }
    }

    /// The scratch memory of a stream for a use, of at least `bytes`.
    ///
    /// # Errors
    /// The driver's, if there is none left.
    pub(super) fn scratch(
        &self,
        lane: Lane<'_>,
        using: Use,
        bytes: usize,
    ) -> Result<u64, DriverError> {
        let mut scratch = self.scratch[lane.index]
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        scratch.of(using, bytes, lane.stream)
    }
}
