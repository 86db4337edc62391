//! The side that fills slots: from the ring and the cache to the device.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::io;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use backends::upload::{HostBuffer, MemoryId, Piece, SlotSink};
use burn::tensor::backend::Backend;

use super::figures::Counters;
use super::files::Files;
use super::layout::Layout;
use super::readers::{Readers, Rounds};
use crate::error::LoadError;
use crate::stream::{Filled, StreamError};

/// The longest time between two questions whether to stop.
const POLL: Duration = Duration::from_millis(20);

/// A group whose bytes are on their way to a slot.
pub(super) struct Ready<W> {
    pub(super) slot: usize,
    /// The mark behind its bytes.
    pub(super) written: W,
}

/// A slot that was lent and may be filled again.
pub(super) struct Returned<U> {
    pub(super) slot: usize,
    /// The mark behind its use.
    pub(super) used: U,
}

/// Fills slots with group after group.
pub(super) struct Feeder<B: Backend, K: SlotSink<B>, D> {
    layout: Arc<Layout>,
    files: Arc<D>,
    counters: Arc<Counters>,
    endless: bool,
    sink: K,
    slots: Vec<MemoryId>,
    /// Slots to fill, with the mark of their last use.
    free: VecDeque<(usize, Option<K::Used>)>,
    /// The group that comes next.
    group: usize,
    /// The reading under way.
    round: Option<Round>,
    /// Buffers that the sink has, by their addresses: the chunk of each that stays in host memory.
    in_flight: HashMap<usize, Option<usize>>,
    /// The cache: chunks in host memory that the sink does not have.
    kept: HashMap<usize, HostBuffer>,
    backend: PhantomData<B>,
}

/// Reading from some group on.
struct Round {
    readers: Readers,
    /// Buffers that the readers have.
    with_readers: usize,
    /// Buffers that came before their turn, by their numbers.
    early: BTreeMap<usize, Filled>,
    /// The number of the next one.
    next: usize,
    /// How many groups were filled.
    groups: usize,
    /// Which chunks are read in the first round.
    is_read_first: Vec<bool>,
}

impl<B: Backend, K: SlotSink<B>, D: Files> Feeder<B, K, D> {
    pub(super) fn new(
        layout: Arc<Layout>,
        files: Arc<D>,
        counters: Arc<Counters>,
        endless: bool,
        sink: K,
        slots: Vec<MemoryId>,
    ) -> Self {
        Self {
            layout,
            files,
            counters,
            endless,
            sink,
            slots,
            free: VecDeque::new(),
            group: 0,
            round: None,
            in_flight: HashMap::new(),
            kept: HashMap::new(),
            backend: PhantomData,
        }
    }

    /// Begins, again if need be, with a group. No slot is lent; all work that has used one is in
    /// front of the mark.
    pub(super) fn begin(&mut self, group: usize, used: &K::Used) -> Result<(), StreamError> {
        self.round = None;
        while let Some(buffer) = self.sink.reclaim(true)? {
            self.recycle(buffer);
        }
        self.sink.write_after(used)?;
        for &slot in &self.slots {
            self.sink.discard(slot);
        }
        self.free = (0..self.slots.len()).map(|slot| (slot, None)).collect();
        self.group = group;

        let layout = &self.layout;
        let is_kept = |chunk| self.kept.contains_key(&chunk);
        let is_read_first = (0..layout.chunks.len()).map(|chunk| !is_kept(chunk));
        let is_read_first = is_read_first.collect();
        let first = layout.groups[group].chunks.start;
        let rounds = Rounds::new(layout.clone(), first, self.endless, &is_kept);
        let readers = Readers::start(self.files.clone(), rounds);
        self.round = Some(Round {
            readers: readers.map_err(|error| StreamError::Read { file: 0, error })?,
            with_readers: 0,
            early: BTreeMap::new(),
            next: 0,
            groups: 0,
            is_read_first,
        });
        for _ in 0..self.layout.buffers {
            self.add_buffer()?;
        }
        Ok(())
    }

    /// Adds a buffer to the ring.
    fn add_buffer(&mut self) -> Result<(), StreamError> {
        let buffer = self.sink.host_buffer(self.layout.buffer_bytes)?;
        if let Some(round) = &mut self.round {
            round.give(buffer);
        }
        Ok(())
    }

    /// Takes a slot back.
    pub(super) fn take(&mut self, Returned { slot, used }: Returned<K::Used>) {
        self.free.push_back((slot, Some(used)));
    }

    /// Whether there is a slot to fill.
    pub(super) fn has_free_slot(&self) -> bool {
        !self.free.is_empty()
    }

    /// Brings one buffer back from the sink, waiting for it; `false` if the sink has none.
    pub(super) fn reclaim(&mut self) -> Result<bool, StreamError> {
        let reclaimed = self.sink.reclaim(true)?;
        Ok(reclaimed.map(|buffer| self.recycle(buffer)).is_some())
    }

    /// Brings all bytes of the next group on their way to a free slot. `None` if there is no free
    /// slot, or no next group.
    ///
    /// # Errors
    /// [`LoadError::Cancelled`] once `stop` says so; whatever ends a stream.
    pub(super) fn fill(
        &mut self,
        stop: &dyn Fn() -> bool,
    ) -> Result<Option<Ready<K::Written>>, StreamError> {
        let layout = self.layout.clone();
        let groups = layout.groups.len();
        let Some(filled) = self.round.as_ref().map(|round| round.groups) else {
            return Ok(None);
        };
        if filled > 0 && self.group == 0 && !self.endless {
            return Ok(None);
        }
        let Some((slot, used)) = self.free.pop_front() else {
            return Ok(None);
        };
        if let Some(used) = used {
            self.sink.write_after(&used)?;
        }
        let is_first_round = filled < groups;
        for chunk in layout.groups[self.group].chunks.clone() {
            self.write(chunk, is_first_round, slot, stop)?;
        }
        if self.group + 1 == groups {
            self.files.check_versions().map_err(StreamError::Caller)?;
        }
        let written = self.sink.written()?;
        self.group = (self.group + 1) % groups;
        if let Some(round) = &mut self.round {
            round.groups += 1;
        }
        Ok(Some(Ready { slot, written }))
    }

    /// Brings a chunk on its way to a slot.
    fn write(
        &mut self,
        index: usize,
        is_first_round: bool,
        slot: usize,
        stop: &dyn Fn() -> bool,
    ) -> Result<(), StreamError> {
        if stop() {
            return Err(StreamError::Caller(LoadError::Cancelled));
        }
        let is_cached = self.layout.cached[index];
        let is_read = match &self.round {
            Some(round) if is_first_round => round.is_read_first[index],
            _ => !is_cached,
        };
        let buffer = match is_read {
            true => self.read(index, stop)?,
            false => self.cached(index)?,
        };
        let layout = self.layout.clone();
        let group = &layout.groups[self.group];
        let parts = &layout.chunks[index].parts;
        let pieces = parts.iter().map(|part| Piece {
            memory: self.slots[slot],
            offset: group.weights[part.need].offset + part.offset as usize,
            source: part.source.clone(),
        });
        let pieces: Vec<Piece> = pieces.collect();
        let bytes: usize = pieces.iter().map(|piece| piece.source.len()).sum();
        let address = buffer.as_ptr() as usize;
        self.sink.write(buffer, &pieces)?;
        self.in_flight.insert(address, is_cached.then_some(index));
        self.counters.count(bytes as u64, !is_read);
        if is_read && is_cached {
            // The ring does not get this one back.
            self.add_buffer()?;
        }
        Ok(())
    }

    /// The buffer that a chunk was read into, once its turn has come.
    fn read(&mut self, index: usize, stop: &dyn Fn() -> bool) -> Result<HostBuffer, StreamError> {
        loop {
            let round = self.round.as_mut();
            let with_readers = round.as_ref().map_or(0, |round| round.with_readers);
            if let Some(filled) = round.and_then(Round::take) {
                let file = self.layout.chunks[index].file;
                let failed = |error| StreamError::Read { file, error };
                return filled.result.map(|()| filled.buffer).map_err(failed);
            }
            // With no buffer left to read into, only the device can give one.
            if let Some(buffer) = self.sink.reclaim(with_readers == 0)? {
                self.recycle(buffer);
                continue;
            }
            if stop() {
                return Err(StreamError::Caller(LoadError::Cancelled));
            }
            if let Some(round) = &mut self.round {
                let waited = round.wait();
                waited.map_err(|error| StreamError::Read { file: 0, error })?;
            }
        }
    }

    /// The buffer of a chunk that stays in host memory.
    fn cached(&mut self, index: usize) -> Result<HostBuffer, StreamError> {
        loop {
            if let Some(buffer) = self.kept.remove(&index) {
                return Ok(buffer);
            }
            if !self.reclaim()? {
                let error = io::Error::other("a buffer of the cache is lost");
                return Err(StreamError::Read { file: 0, error });
            }
        }
    }

    /// Puts a buffer that the sink has done with where it belongs.
    fn recycle(&mut self, buffer: HostBuffer) {
        let chunk = self.in_flight.remove(&(buffer.as_ptr() as usize));
        match (chunk.flatten(), &mut self.round) {
            (Some(chunk), _) => {
                self.kept.insert(chunk, buffer);
            }
            (None, Some(round)) => round.give(buffer),
            (None, None) => {}
        }
    }
}

impl Round {
    /// Lets the readers fill a buffer.
    fn give(&mut self, buffer: HostBuffer) {
        self.with_readers += 1;
        self.readers.give(buffer);
    }

    /// The next buffer in order, if it has come.
    fn take(&mut self) -> Option<Filled> {
        let filled = self.early.remove(&self.next)?;
        self.next += 1;
        Some(filled)
    }

    /// Waits a while for a buffer.
    fn wait(&mut self) -> io::Result<()> {
        if let Some(filled) = self.readers.next(POLL)? {
            self.with_readers -= 1;
            self.early.insert(filled.number, filled);
        }
        Ok(())
    }
}
