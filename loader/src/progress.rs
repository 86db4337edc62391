//! How far a load is.

use crate::error::LoadError;
use crate::stream::Follow;

/// Is told how far loading is, and may stop it. `()` does neither.
pub trait LoadObserver {
    /// `bytes_done` of `bytes_total` bytes of the checkpoint are in place.
    fn progress(&mut self, bytes_done: u64, bytes_total: u64) {
        let _ = (bytes_done, bytes_total);
    }

    /// Tells whether to stop with [`LoadError::Cancelled`]. Asked after at most 16 MiB.
    fn cancelled(&self) -> bool {
        false
    }
}

impl LoadObserver for () {}

/// Counts bytes, tells the observer, and stops where it says so.
pub(crate) struct Progress<'a> {
    observer: &'a mut dyn LoadObserver,
    done: u64,
    total: u64,
}

impl<'a> Progress<'a> {
    /// Nothing of `total` bytes is done.
    pub(crate) fn new(total: u64, observer: &'a mut dyn LoadObserver) -> Self {
        Self {
            observer,
            done: 0,
            total,
        }
    }

    /// All bytes that there are.
    pub(crate) fn total(&self) -> u64 {
        self.total
    }
}

/// For a stream of which the host needs nothing.
impl Follow for Progress<'_> {
    fn receive(&mut self, _number: usize, _offset: u64, _bytes: &[u8]) -> Result<(), LoadError> {
        Ok(())
    }

    fn advance(&mut self, bytes: u64) -> Result<(), LoadError> {
        if self.observer.cancelled() {
            return Err(LoadError::Cancelled);
        }
        self.done += bytes;
        self.observer.progress(self.done, self.total);
        Ok(())
    }
}
