//! A device that keeps nothing: it checks that every byte arrives once, and counts.

use std::collections::VecDeque;
use std::ops::Range;

use super::{DeviceSink, HostBuffer, MemoryId, Piece, UploadError};

/// A device without memory, for trying a disk or a file, and for tests.
#[derive(Debug, Default)]
pub struct NullSink {
    memories: Vec<Received>,
    buffers: VecDeque<HostBuffer>,
    allocated: u64,
    written: u64,
    capacity: Option<u64>,
}

#[derive(Debug)]
struct Received {
    bytes: usize,
    /// The bytes that arrived, in order and without overlap; neighbours are joined.
    ranges: Vec<Range<usize>>,
}

impl NullSink {
    /// A device without a limit.
    pub fn new() -> Self {
        Self::default()
    }

    /// A device that refuses to allocate more than `bytes` in all.
    pub fn with_capacity(bytes: u64) -> Self {
        Self {
            capacity: Some(bytes),
            ..Self::default()
        }
    }

    /// Bytes that arrived.
    pub fn bytes_written(&self) -> u64 {
        self.written
    }
}

impl Received {
    /// Notes that a range arrived; `false` if part of it had arrived before.
    fn add(&mut self, new: Range<usize>) -> bool {
        if new.is_empty() {
            return true;
        }
        let at = self.ranges.partition_point(|range| range.end <= new.start);
        if self.ranges.get(at).is_some_and(|next| next.start < new.end) {
            return false;
        }
        let joins_next = self
            .ranges
            .get(at)
            .is_some_and(|next| next.start == new.end);
        let joins_last = at > 0 && self.ranges[at - 1].end == new.start;
        match (joins_last, joins_next) {
            (true, true) => self.ranges[at - 1].end = self.ranges.remove(at).end,
            (true, false) => self.ranges[at - 1].end = new.end,
            (false, true) => self.ranges[at].start = new.start,
            (false, false) => self.ranges.insert(at, new),
        }
        true
    }

    fn received(&self) -> u64 {
        self.ranges.iter().map(|range| range.len() as u64).sum()
    }
}

impl DeviceSink for NullSink {
    fn allocate(&mut self, bytes: usize) -> Result<MemoryId, UploadError> {
        let needed = bytes as u64;
        let free = self.capacity.map(|capacity| capacity - self.allocated);
        if let Some(free) = free
            && needed > free
        {
            return Err(UploadError::OutOfMemory { needed, free });
        }
        self.allocated += needed;
        self.memories.push(Received {
            bytes,
            ranges: Vec::new(),
        });
        Ok(MemoryId::new(self.memories.len() - 1))
    }

    fn write(&mut self, buffer: HostBuffer, pieces: &[Piece]) -> Result<(), UploadError> {
        for piece in pieces {
            let memory = self.memories.get_mut(piece.memory.index());
            let size = memory.as_ref().map(|memory| memory.bytes);
            let bytes = piece.of(&buffer, size)?.len();
            if let Some(memory) = memory
                && !memory.add(piece.offset..piece.offset + bytes)
            {
                return Err(UploadError::Uneven {
                    memory: piece.memory.index(),
                    received: memory.received() + bytes as u64,
                    expected: memory.bytes as u64,
                });
            }
            self.written += bytes as u64;
        }
        self.buffers.push_back(buffer);
        Ok(())
    }

    fn reclaim(&mut self, _wait: bool) -> Result<Option<HostBuffer>, UploadError> {
        Ok(self.buffers.pop_front())
    }

    fn finish(&mut self) -> Result<(), UploadError> {
        let lacking = self
            .memories
            .iter()
            .enumerate()
            .find_map(|(index, memory)| {
                let received = memory.received();
                let expected = memory.bytes as u64;
                (received != expected).then_some(UploadError::Uneven {
                    memory: index,
                    received,
                    expected,
                })
            });
        lacking.map_or(Ok(()), Err)
    }
}

#[cfg(test)]
mod tests {
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
