//! Page-aligned host memory.

use std::any::Any;
use std::fmt;
use std::ops::{Deref, DerefMut, Range};

use memmap2::MmapMut;

use super::UploadError;

/// Host memory that begins and ends at a page, as direct reads and pinning need it.
pub struct HostBuffer {
    // Dropped first: pinned pages must be released while they are still mapped.
    pin: Option<Box<dyn Any + Send>>,
    memory: MmapMut,
    /// The buffer's bytes in the memory.
    range: Range<usize>,
}

/// Smaller buffers are small pages.
const HUGE_PAGE: usize = 2 << 20;

impl HostBuffer {
    /// Takes a buffer of at least `bytes` zeros, a whole number of pages.
    ///
    /// # Errors
    /// [`UploadError::HostMemory`] if the system has none.
    pub fn new(bytes: usize) -> Result<Self, UploadError> {
        const PAGE: usize = 4096;
        let bytes = bytes.max(1).next_multiple_of(PAGE);
        // Room to begin at a huge page, where the system would not: addresses are all it takes.
        let room = if bytes < HUGE_PAGE {
            0
        } else {
            HUGE_PAGE - PAGE
        };
        let memory = MmapMut::map_anon(bytes + room).map_err(|_| UploadError::HostMemory {
            needed: bytes as u64,
        })?;
        let address = memory.as_ptr() as usize;
        let start = match room {
            0 => 0,
            _ => address.next_multiple_of(HUGE_PAGE) - address,
        };
        // Disks and drivers take memory in few large pieces faster than in many small ones. Only
        // advice: without huge pages the memory works as well.
        #[cfg(target_os = "linux")]
        let _ = memory.advise_range(memmap2::Advice::HugePage, start, bytes);
        Ok(Self {
            pin: None,
            memory,
            range: start..start + bytes,
        })
    }

    /// Keeps `pin` for as long as the memory is mapped.
    #[cfg(feature = "cuda")]
    pub(crate) fn pinned_by(mut self, pin: Box<dyn Any + Send>) -> Self {
        self.pin = Some(pin);
        self
    }

    /// Tells whether a driver has pinned it.
    pub fn is_pinned(&self) -> bool {
        self.pin.is_some()
    }
}

impl Deref for HostBuffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.memory[self.range.clone()]
    }
}

impl DerefMut for HostBuffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.memory[self.range.clone()]
    }
}

impl AsRef<[u8]> for HostBuffer {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl fmt::Debug for HostBuffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HostBuffer")
            .field("bytes", &self.len())
            .field("pinned", &self.is_pinned())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_buffers_begin_at_a_huge_page() {
        for bytes in [1, 4096, HUGE_PAGE, 3 * HUGE_PAGE + 5] {
            let mut buffer = HostBuffer::new(bytes).expect("room");
            assert_eq!(buffer.len(), bytes.next_multiple_of(4096));
            let page = if bytes < HUGE_PAGE { 4096 } else { HUGE_PAGE };
            assert!((buffer.as_ptr() as usize).is_multiple_of(page));
            buffer.fill(7);
            assert!(buffer.iter().all(|&byte| byte == 7));
        }
    }
}
