//! Page-aligned host memory.

use std::any::Any;
use std::fmt;
use std::ops::{Deref, DerefMut};

use memmap2::MmapMut;

use super::UploadError;

/// Host memory that begins and ends at a page, as direct reads and pinning need it.
pub struct HostBuffer {
    // Dropped first: pinned pages must be released while they are still mapped.
    pin: Option<Box<dyn Any + Send>>,
    memory: MmapMut,
}

impl HostBuffer {
    /// Takes a buffer of at least `bytes` zeros, a whole number of pages.
    ///
    /// # Errors
    /// [`UploadError::HostMemory`] if the system has none.
    pub fn new(bytes: usize) -> Result<Self, UploadError> {
        const PAGE: usize = 4096;
        let bytes = bytes.max(1).next_multiple_of(PAGE);
        let memory = MmapMut::map_anon(bytes).map_err(|_| UploadError::HostMemory {
            needed: bytes as u64,
        })?;
        // Disks and drivers take memory in few large pieces faster than in many small ones. Only
        // advice: without huge pages the memory works as well.
        #[cfg(target_os = "linux")]
        let _ = memory.advise(memmap2::Advice::HugePage);
        Ok(Self { pin: None, memory })
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
        &self.memory
    }
}

impl DerefMut for HostBuffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.memory
    }
}

impl AsRef<[u8]> for HostBuffer {
    fn as_ref(&self) -> &[u8] {
        &self.memory
    }
}

impl fmt::Debug for HostBuffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HostBuffer")
            .field("bytes", &self.memory.len())
            .field("pinned", &self.is_pinned())
            .finish()
    }
}
