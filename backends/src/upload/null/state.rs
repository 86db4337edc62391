//! The bytes and marks that a null device was given, and the order in which it was given them.

use std::ops::Range;

use crate::upload::{MemoryId, Piece, UploadError, end_of, not_of_size};

/// What a null device knows.
#[derive(Debug, Default)]
pub(super) struct State {
    memories: Vec<Received>,
    allocated: u64,
    written: u64,
    capacity: Option<u64>,
    /// Counts writes, lent tensors and marks.
    clock: u64,
    /// The latest mark that writes wait for.
    used: u64,
    /// The latest mark that lent tensors wait for.
    ready: u64,
}

#[derive(Debug, Default)]
struct Received {
    bytes: usize,
    /// The bytes that arrived, in order and without overlap; neighbours are joined. In a slot,
    /// those that arrived after it was last lent.
    ranges: Vec<Range<usize>>,
    is_slot: bool,
    is_tensor: bool,
    /// When the last bytes came.
    written: u64,
    /// When a tensor over these bytes was last lent.
    lent: Option<u64>,
}

impl State {
    /// A device that refuses to allocate more than so many bytes.
    pub(super) fn with_capacity(bytes: u64) -> Self {
        Self {
            capacity: Some(bytes),
            ..Self::default()
        }
    }

    /// Bytes that arrived.
    pub(super) fn bytes_written(&self) -> u64 {
        self.written
    }

    pub(super) fn allocate(&mut self, bytes: usize) -> Result<MemoryId, UploadError> {
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
            ..Received::default()
        });
        Ok(MemoryId::new(self.memories.len() - 1))
    }

    pub(super) fn write(&mut self, buffer: &[u8], piece: &Piece) -> Result<(), UploadError> {
        let index = piece.memory.index();
        let memory = self.memories.get_mut(index);
        let memory = memory.filter(|memory| !memory.is_tensor);
        let size = memory.as_ref().map(|memory| memory.bytes);
        let bytes = piece.of(buffer, size)?.len();
        let Some(memory) = memory.filter(|_| bytes > 0) else {
            return Ok(());
        };
        if let Some(lent) = memory.lent {
            if lent > self.used {
                return Err(UploadError::WrittenInUse { memory: index });
            }
            memory.lent = None;
            memory.ranges.clear();
        }
        if !memory.add(piece.offset..piece.offset + bytes) {
            return Err(UploadError::Uneven {
                memory: index,
                received: memory.received() + bytes as u64,
                expected: memory.bytes as u64,
            });
        }
        self.clock += 1;
        memory.written = self.clock;
        self.written += bytes as u64;
        Ok(())
    }

    /// Checks that every byte of what is no slot has arrived.
    pub(super) fn finish(&self) -> Result<(), UploadError> {
        let lacking = self
            .memories
            .iter()
            .enumerate()
            .filter(|(_, memory)| !memory.is_slot)
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

    /// Makes a tensor of memory.
    pub(super) fn take(&mut self, memory: MemoryId, bytes: usize) -> Result<(), UploadError> {
        let taken = self.memories.get_mut(memory.index());
        let taken = taken.filter(|taken| !taken.is_tensor && taken.bytes == bytes);
        taken.ok_or_else(|| not_of_size(memory, bytes))?.is_tensor = true;
        Ok(())
    }

    /// Makes all memory that is no tensor slots.
    pub(super) fn make_slots(&mut self) {
        for memory in &mut self.memories {
            memory.is_slot |= !memory.is_tensor;
        }
    }

    /// A mark behind everything so far.
    pub(super) fn mark(&mut self) -> u64 {
        self.clock += 1;
        self.clock
    }

    pub(super) fn write_after(&mut self, used: u64) {
        self.used = self.used.max(used);
    }

    /// Forgets the bytes of a memory that nothing uses any more.
    pub(super) fn discard(&mut self, memory: MemoryId) {
        let memory = self.memories.get_mut(memory.index());
        if let Some(memory) = memory
            && memory.lent.is_none_or(|lent| lent <= self.used)
        {
            memory.lent = None;
            memory.ranges.clear();
        }
    }

    pub(super) fn read_after(&mut self, written: u64) {
        self.ready = self.ready.max(written);
    }

    /// Lends a tensor of `bytes` bytes.
    pub(super) fn lend(
        &mut self,
        memory: MemoryId,
        offset: usize,
        bytes: usize,
    ) -> Result<(), UploadError> {
        let lent = self.memories.get_mut(memory.index());
        let lent = lent.filter(|lent| lent.is_slot && !lent.is_tensor);
        let end = end_of(memory, offset, bytes, lent.as_ref().map(|lent| lent.bytes))?;
        let Some(lent) = lent.filter(|_| bytes > 0) else {
            return Ok(());
        };
        let arrived = |range: &Range<usize>| range.start <= offset && end <= range.end;
        if !lent.ranges.iter().any(arrived) || lent.written > self.ready {
            let memory = memory.index();
            return Err(UploadError::ReadUnwritten { memory });
        }
        self.clock += 1;
        lent.lent = Some(self.clock);
        Ok(())
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
