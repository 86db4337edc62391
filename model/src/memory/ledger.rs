//! A running count of the bytes that are alive, and of the most that ever were.

/// Bytes alive at a point of a computation.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    live: u64,
    peak: u64,
}

impl Ledger {
    /// Counts `bytes` more as alive from here on.
    pub(super) fn hold(&mut self, bytes: u64) {
        self.live += bytes;
        self.spike(0);
    }

    /// Counts `bytes` of those alive as freed.
    pub(super) fn release(&mut self, bytes: u64) {
        self.live = self.live.saturating_sub(bytes);
    }

    /// Counts `bytes` more as alive for a moment.
    pub(super) fn spike(&mut self, bytes: u64) {
        self.peak = self.peak.max(self.live + bytes);
    }

    /// The most bytes that were alive at the same time.
    pub(super) fn peak(&self) -> u64 {
        self.peak
    }
}
