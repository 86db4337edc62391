//! What a stream has done so far.

use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;

/// Figures of a weight stream, from its beginning on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct StreamFigures {
    /// Groups that were lent.
    pub groups: u64,
    /// Bytes of weights that came from the files. Bytes that were read ahead count.
    pub bytes_read: u64,
    /// Bytes of weights that came from the cache in host memory.
    pub bytes_from_cache: u64,
    /// Seconds that the thread that computes stood still until the bytes of a group were on their
    /// way to the device.
    pub seconds_waited: f64,
    /// Seconds of them in which the device had nothing to do. It may also stand still for the last
    /// bytes, which are not yet there when they are on their way: as many as the ring holds.
    pub seconds_stalled: f64,
    /// Device memory of the slots, in bytes.
    pub slot_bytes: u64,
    /// Host memory of the ring, in bytes.
    pub ring_bytes: u64,
    /// Host memory of the cache once it is full, in bytes.
    pub cache_bytes: u64,
}

/// What the side that fills slots counts.
#[derive(Debug, Default)]
pub(super) struct Counters {
    read: AtomicU64,
    from_cache: AtomicU64,
}

impl Counters {
    pub(super) fn count(&self, bytes: u64, from_cache: bool) {
        let counter = match from_cache {
            true => &self.from_cache,
            false => &self.read,
        };
        counter.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Enters the counts.
    pub(super) fn enter(&self, figures: &mut StreamFigures) {
        figures.bytes_read = self.read.load(Ordering::Relaxed);
        figures.bytes_from_cache = self.from_cache.load(Ordering::Relaxed);
    }
}
