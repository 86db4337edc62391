//! A device that keeps nothing: it checks that every byte arrives once and in order, and counts.

mod slots;
mod state;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{DeviceSink, HostBuffer, MemoryId, Piece, UploadError};
use state::State;

pub use slots::{NullMark, NullSlots};

/// A device without memory, for trying a disk or a file, and for tests.
///
/// A tensor of its memory is of zeros. As slots, its memory holds the order of both sides against
/// what [`SlotSink`](super::SlotSink) and [`Slots`](super::Slots) ask for.
#[derive(Debug, Default)]
pub struct NullSink {
    state: Arc<Mutex<State>>,
    buffers: VecDeque<HostBuffer>,
}

impl NullSink {
    /// A device without a limit.
    pub fn new() -> Self {
        Self::default()
    }

    /// A device that refuses to allocate more than `bytes` in all.
    pub fn with_capacity(bytes: u64) -> Self {
        Self {
            state: Arc::new(Mutex::new(State::with_capacity(bytes))),
            ..Self::default()
        }
    }

    /// Bytes that arrived.
    pub fn bytes_written(&self) -> u64 {
        self.state().bytes_written()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl DeviceSink for NullSink {
    fn allocate(&mut self, bytes: usize) -> Result<MemoryId, UploadError> {
        self.state().allocate(bytes)
    }

    fn write(&mut self, buffer: HostBuffer, pieces: &[Piece]) -> Result<(), UploadError> {
        let mut state = self.state();
        for piece in pieces {
            state.write(&buffer, piece)?;
        }
        drop(state);
        self.buffers.push_back(buffer);
        Ok(())
    }

    fn reclaim(&mut self, _wait: bool) -> Result<Option<HostBuffer>, UploadError> {
        Ok(self.buffers.pop_front())
    }

    fn finish(&mut self) -> Result<(), UploadError> {
        self.state().finish()
    }
}

#[cfg(test)]
mod tests {
    use std::ops::Range;

    use super::*;

    fn piece(memory: MemoryId, offset: usize, source: Range<usize>) -> Piece {
        Piece {
            memory,
            offset,
            source,
        }
    }

    fn buffer() -> HostBuffer {
        HostBuffer::new(100).expect("a page")
    }

    #[test]
    fn every_byte_must_arrive_once() {
        let mut sink = NullSink::new();
        let memory = sink.allocate(100).expect("room");
        let parts = [(60, 0..40), (0, 40..50), (10, 50..100)];
        for (i, (offset, source)) in parts.into_iter().enumerate() {
            assert!(sink.finish().is_err(), "{i} parts are not all");
            sink.write(buffer(), &[piece(memory, offset, source)])
                .expect("a new part");
        }
        assert_eq!(sink.finish(), Ok(()));
        assert_eq!(sink.bytes_written(), 100);
        let again = sink.write(buffer(), &[piece(memory, 9, 0..2)]);
        assert!(matches!(again, Err(UploadError::Uneven { .. })));
    }

    #[test]
    fn pieces_out_of_bounds_are_refused() {
        let mut sink = NullSink::new();
        let memory = sink.allocate(10).expect("room");
        for (offset, source) in [(0, 0..11), (5, 0..6), (usize::MAX, 0..1), (0, 4090..4097)] {
            let error = sink.write(buffer(), &[piece(memory, offset, source.clone())]);
            assert!(
                matches!(error, Err(UploadError::OutOfBounds { .. })),
                "{offset} {source:?}"
            );
        }
        let error = sink.write(buffer(), &[piece(MemoryId::new(7), 0, 0..1)]);
        assert!(matches!(error, Err(UploadError::OutOfBounds { .. })));
    }

    #[test]
    fn a_full_device_says_what_it_lacks() {
        let mut sink = NullSink::with_capacity(10);
        sink.allocate(4).expect("room");
        assert_eq!(
            sink.allocate(7),
            Err(UploadError::OutOfMemory { needed: 7, free: 6 })
        );
        sink.allocate(0).expect("nothing always fits");
    }

    #[test]
    fn buffers_come_back() {
        let mut sink = NullSink::new();
        assert!(sink.reclaim(true).expect("no device").is_none());
        sink.write(buffer(), &[]).expect("nothing to write");
        assert!(sink.reclaim(false).expect("no device").is_some());
        assert!(sink.reclaim(true).expect("no device").is_none());
    }
}
