//! The shape of the ring.

use super::chunks::{Chunk, chunks};
use super::need::Need;
use crate::source::BLOCK;

/// Bytes of a buffer: a huge page. Disks read larger ones no faster, and a device copies one in
/// some ten times what it takes to start the copy.
pub(super) const BUFFER_BYTES: usize = 2 << 20;
/// Buffers, of which the device has those that the readers do not fill.
pub(super) const BUFFERS: usize = 32;
/// Threads that read, at least: a disk wants several reads at once, whatever the cores.
const READERS: usize = 8;
/// Threads that read, at most: from memory they copy more than a device takes in.
const MOST_READERS: usize = 16;
/// Cores that are left to the thread that hands buffers to the device, and to the driver.
const OTHER_CORES: usize = 2;

/// How many threads read into how many buffers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ring {
    /// Threads that read.
    pub readers: usize,
    /// Buffers.
    pub buffers: usize,
    /// Bytes of a buffer, a multiple of 4096.
    pub buffer_bytes: usize,
}

impl Ring {
    /// The ring for a machine with so many cores.
    pub fn of_cores(cores: usize) -> Self {
        let readers = cores.saturating_sub(OTHER_CORES);
        Self {
            readers: readers.clamp(READERS, MOST_READERS),
            buffers: BUFFERS,
            buffer_bytes: BUFFER_BYTES,
        }
    }

    /// Bytes of host memory that a stream of these needs takes at most.
    pub(crate) fn bytes(&self, needs: &[Need]) -> u64 {
        let (buffers, size) = self.fit(&chunks(needs, self.buffer_bytes));
        (buffers * size) as u64
    }

    /// Number and size of the buffers that these chunks are read into.
    pub(crate) fn fit(&self, chunks: &[Chunk]) -> (usize, usize) {
        let largest = chunks.iter().map(|chunk| chunk.needed).max().unwrap_or(0);
        let size = largest.next_multiple_of(BLOCK);
        (chunks.len().min(self.buffers), size)
    }
}

impl Default for Ring {
    /// The ring for this machine.
    fn default() -> Self {
        Self::of_cores(std::thread::available_parallelism().map_or(1, usize::from))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_cores_read_with_more_threads_but_not_with_any_number() {
        let readers = [1, 2, 8, 12, 16, 128].map(|cores| Ring::of_cores(cores).readers);
        assert_eq!(readers, [8, 8, 8, 10, 14, 16]);
    }
}
