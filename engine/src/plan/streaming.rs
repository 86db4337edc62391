//! What of a model that does not fit stays in memory, and what is read anew with every pass.

use loader::Component;
use serde::Serialize;

use super::blocks::{Blocks, block_of};
use super::setting::{Place, Setting};

/// Places in memory for a streamed block. While one computes in the first, the bytes of the next
/// come into the second: they are never held up by the computation unless they are ahead of it. A
/// third would take the room of a block that stays, and the ring of host buffers evens out the
/// hiccups of a disk already.
const SLOTS: usize = 2;

/// How blocks of a model come in anew with each pass. Figures are bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Streaming {
    /// Blocks that stay in memory.
    pub resident_blocks: usize,
    /// Blocks that come in anew with each pass, spread evenly between those that stay.
    pub streamed_blocks: usize,
    /// Places in memory for a streamed block.
    pub slots: usize,
    /// One of them.
    pub slot_bytes: u64,
    /// The bytes that come in with each pass.
    pub pass_bytes: u64,
    /// The part of them that stays in host memory once it was read.
    pub ram_cache_bytes: u64,
    /// Whether bytes get to the device while it computes.
    pub copies_beside: bool,
    /// Seconds in which the disk reads what comes from it with each pass, where its rate is known.
    pub read_seconds: Option<f64>,
    /// Seconds that a pass computes, where an earlier run has shown it.
    pub compute_seconds: Option<f64>,
    /// Seconds of a pass in which the computation waits for bytes, where both are known.
    pub wait_seconds: Option<f64>,
    /// The size of a RAM cache with which it would not wait, where one would help.
    pub enough_ram_cache: Option<u64>,
    /// Weights that are in memory at any time: those that stay, and the slots.
    #[serde(skip)]
    pub(super) held_bytes: u64,
}

/// A model that may be streamed.
pub(super) struct Candidate<'a> {
    /// Its blocks.
    pub(super) blocks: &'a Blocks,
    /// All of its weights in memory.
    pub(super) weights: u64,
    /// The place where it computes.
    pub(super) place: Place,
    /// Whether the model is gone through once, so that a block that stays saves nothing.
    pub(super) one_pass: bool,
    /// Seconds that a pass computes, where they are known.
    pub(super) compute_seconds: Option<f64>,
}

/// The number of slots in a place, with what takes as much memory as one.
pub(super) fn slots(place: Place) -> u64 {
    // In host memory a slot's tensors are copies of what is in it.
    let copies = usize::from(place == Place::Processor);
    (SLOTS + copies) as u64
}

/// Returns whether a block is among the `streamed` ones of `all`, which are spread evenly.
pub(super) fn is_streamed(block: usize, streamed: usize, all: usize) -> bool {
    all > 0 && (block + 1) * streamed / all > block * streamed / all
}

/// Returns the block, counted from 0, whose turn brings a model's parameter; `None` for one that
/// stays in memory.
pub fn streamed_block(component: Component, name: &str, streaming: &Streaming) -> Option<usize> {
    let all = streaming.resident_blocks + streaming.streamed_blocks;
    block_of(component, name).filter(|block| is_streamed(*block, streaming.streamed_blocks, all))
}

impl Candidate<'_> {
    /// Finds the largest set of blocks that can stay in `room` bytes; if not even the smallest can,
    /// the plan of that. `None` for a model that has nothing to stream.
    pub(super) fn streaming(&self, room: u64, setting: &Setting) -> Option<Streaming> {
        let all = self.blocks.bytes.len();
        // With no more streamed blocks than slots they might as well stay.
        let least = if self.one_pass { all } else { SLOTS + 1 };
        if all <= SLOTS {
            return None;
        }
        let fits = |streamed: &usize| self.held(*streamed) <= room;
        let streamed = (least..=all).find(fits).unwrap_or(all);
        (self.held(streamed) < self.weights).then(|| self.with(streamed, setting))
    }

    fn streamed(&self, streamed: usize) -> impl Iterator<Item = u64> {
        let all = self.blocks.bytes.len();
        let bytes = self.blocks.bytes.iter().enumerate();
        bytes
            .filter(move |(block, _)| is_streamed(*block, streamed, all))
            .map(|(_, bytes)| *bytes)
    }

    /// The weights in memory at any time.
    fn held(&self, streamed: usize) -> u64 {
        let slots = slots(self.place) * self.blocks.slot;
        let away = self.streamed(streamed).sum::<u64>() + self.blocks.table;
        self.weights.saturating_sub(away) + slots
    }

    fn with(&self, streamed: usize, setting: &Setting) -> Streaming {
        let bytes: Vec<u64> = self.streamed(streamed).collect();
        let pass_bytes: u64 = bytes.iter().sum();
        let cached = if self.one_pass {
            0
        } else {
            let host = setting.host_available.unwrap_or(u64::MAX);
            cached(&bytes, setting.ram_cache.min(host))
        };
        let rate = setting.read_rate;
        let copies_beside = setting.copies_beside(self.place);
        // On the processor the thread that computes also brings the bytes.
        let hidden = match self.place {
            Place::Device => self.compute_seconds,
            Place::Processor => Some(0.0),
        };
        let read_seconds = rate.map(|rate| (pass_bytes - cached) as f64 / rate);
        let wait_seconds = read_seconds
            .zip(hidden)
            .map(|(read, hidden)| (read - hidden).max(0.0));
        let enough = rate.zip(hidden).map(|(rate, hidden)| {
            let read = (rate * hidden) as u64;
            cache_for(&bytes, pass_bytes.saturating_sub(read))
        });
        let waits = wait_seconds.is_some_and(|seconds| seconds > 0.0) && !self.one_pass;
        Streaming {
            resident_blocks: self.blocks.bytes.len() - streamed,
            streamed_blocks: streamed,
            slots: SLOTS,
            slot_bytes: self.blocks.slot,
            pass_bytes,
            ram_cache_bytes: cached,
            copies_beside,
            read_seconds,
            compute_seconds: self.compute_seconds,
            wait_seconds,
            enough_ram_cache: enough.filter(|_| waits),
            held_bytes: self.held(streamed),
        }
    }
}

/// The bytes of the blocks that stay in a RAM cache of a size: as many as fit, spread evenly.
fn cached(bytes: &[u64], size: u64) -> u64 {
    let mut fitting = cache_sizes(bytes).filter(|bytes| *bytes <= size);
    let first = fitting.next().unwrap_or(0);
    fitting.fold(first, u64::max)
}

/// The size of the smallest RAM cache that holds at least so many bytes.
fn cache_for(bytes: &[u64], least: u64) -> u64 {
    let mut sizes = cache_sizes(bytes).filter(|bytes| *bytes >= least);
    let first = sizes.next().unwrap_or(0);
    sizes.fold(first, u64::min)
}

/// The bytes of none, one, two, … of the blocks, spread evenly between the others.
fn cache_sizes(bytes: &[u64]) -> impl Iterator<Item = u64> {
    (0..=bytes.len()).map(|count| {
        let blocks = bytes.iter().enumerate();
        let kept = blocks.filter(|(block, _)| is_streamed(*block, count, bytes.len()));
        kept.map(|(_, bytes)| bytes).sum()
    })
}
