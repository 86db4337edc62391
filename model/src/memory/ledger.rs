//! What is alive, and the most that ever was.

/// Bytes alive at a point of a computation.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    live: u64,
    peak: u64,
}

impl Ledger {
    /// `bytes` more are alive from here on.
    pub(super) fn hold(&mut self, bytes: u64) {
        self.live += bytes;
        self.spike(0);
    }

    /// `bytes` of those alive are no longer.
    pub(super) fn release(&mut self, bytes: u64) {
        self.live = self.live.saturating_sub(bytes);
    }

    /// `bytes` more are alive for a moment.
    pub(super) fn spike(&mut self, bytes: u64) {
        self.peak = self.peak.max(self.live + bytes);
    }

    /// The most that was alive at once.
    pub(super) fn peak(&self) -> u64 {
        self.peak
    }
}
