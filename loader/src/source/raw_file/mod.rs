//! A file read in blocks: what the system has in memory from there, the rest past the page cache
//! where the file system grants it, else through the cache and out of it again.

#[cfg(target_os = "linux")]
mod direct;
#[cfg(target_os = "linux")]
mod page_cache;
#[cfg(target_os = "linux")]
mod readahead;
#[cfg(target_os = "linux")]
mod stretch;

#[cfg(test)]
mod tests;

use std::fs::File;
use std::io::{self, ErrorKind};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

#[cfg(target_os = "linux")]
use direct::Direct;
#[cfg(target_os = "linux")]
use page_cache::PageCache;
#[cfg(target_os = "linux")]
use stretch::{PIECE, Stretch};

/// Direct reads begin and end at multiples of this in the file and in memory. No disk in use asks
/// for more.
pub(crate) const BLOCK: usize = 4096;

/// Something to read blocks of.
pub(crate) trait ReadAt: Sync {
    /// Reads from `offset` on, and says how much; less than asked for only before the end of the
    /// file or where the system chose to. Address, length and offset are multiples of [`BLOCK`].
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;
}

impl<T: ReadAt> ReadAt for &T {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        (**self).read_at(buffer, offset)
    }
}

/// Fills at least the first `needed` bytes of a buffer of whole blocks from `offset`, which is a
/// multiple of [`BLOCK`].
///
/// # Errors
/// [`ErrorKind::UnexpectedEof`] if the file has fewer; whatever the system reports.
pub(crate) fn fill(
    file: &impl ReadAt,
    buffer: &mut [u8],
    offset: u64,
    needed: usize,
) -> io::Result<()> {
    let end = needed.next_multiple_of(BLOCK).min(buffer.len());
    let mut done = 0;
    while done < needed {
        // A read that ended within a block is taken up again at the block's beginning.
        let begin = done - done % BLOCK;
        match file.read_at(&mut buffer[begin..end], offset + begin as u64) {
            Ok(read) if begin + read > done => done = begin + read,
            Ok(_) => return Err(ErrorKind::UnexpectedEof.into()),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// A model file.
pub(crate) struct RawFile {
    file: File,
    #[cfg(target_os = "linux")]
    direct: Option<Direct>,
    /// What the system has of it; none where it does not tell.
    #[cfg(target_os = "linux")]
    page_cache: Option<PageCache>,
    counts: Counts,
}

/// Bytes that were read of a file.
#[derive(Default)]
struct Counts {
    from_memory: AtomicU64,
    from_disk: AtomicU64,
}

impl RawFile {
    /// Opens a file for reading.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        #[cfg(target_os = "linux")]
        let direct = Direct::open(&file, path);
        #[cfg(target_os = "linux")]
        if direct.is_none() {
            direct::leave_neighbours_alone(&file);
        }
        Ok(Self {
            #[cfg(target_os = "linux")]
            direct,
            #[cfg(target_os = "linux")]
            page_cache: PageCache::of(&file, path),
            counts: Counts::default(),
            file,
        })
    }

    /// The file as the system opens it by default.
    pub(crate) fn file(&self) -> &File {
        &self.file
    }

    /// Tells whether what is not in memory is read past the page cache.
    pub(crate) fn is_direct(&self) -> bool {
        #[cfg(target_os = "linux")]
        return self.direct.as_ref().is_some_and(Direct::is_granted);
        #[cfg(not(target_os = "linux"))]
        false
    }

    /// Bytes that were read out of memory so far, and bytes that were not.
    pub(crate) fn bytes_read(&self) -> [u64; 2] {
        let Counts {
            from_memory,
            from_disk,
        } = &self.counts;
        [from_memory, from_disk].map(|count| count.load(Ordering::Relaxed))
    }

    /// The stretch that a buffer's bytes begin with.
    #[cfg(target_os = "linux")]
    fn stretch(&self, length: usize, offset: u64) -> Stretch {
        match &self.page_cache {
            Some(page_cache) => page_cache.stretch(&self.file, offset..offset + length as u64),
            None => Stretch::absent(length as u64),
        }
    }

    /// Copies bytes that the system has in memory.
    #[cfg(target_os = "linux")]
    fn read_from_memory(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut done = 0;
        for piece in buffer.chunks_mut(PIECE as usize) {
            match read_some_at(&self.file, piece, offset + done as u64) {
                Ok(read) => {
                    done += read;
                    if read < piece.len() {
                        break;
                    }
                }
                Err(error) if done == 0 => return Err(error),
                // It comes again with the next read.
                Err(_) => break,
            }
        }
        let from_memory = &self.counts.from_memory;
        from_memory.fetch_add(done as u64, Ordering::Relaxed);
        Ok(done)
    }

    fn read_from_disk(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let read = self.read_uncached(buffer, offset)?;
        let from_disk = &self.counts.from_disk;
        from_disk.fetch_add(read as u64, Ordering::Relaxed);
        Ok(read)
    }

    fn read_uncached(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        #[cfg(target_os = "linux")]
        if let Some(direct) = self.direct.as_ref().filter(|direct| direct.is_granted()) {
            match read_some_at(direct.file(), buffer, offset) {
                Err(error) if error.kind() == ErrorKind::InvalidInput => {
                    direct.refuse();
                    direct::leave_neighbours_alone(&self.file);
                }
                done => return done,
            }
        }
        self.read_buffered(buffer, offset)
    }

    fn read_buffered(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let read = read_some_at(&self.file, buffer, offset)?;
        #[cfg(target_os = "linux")]
        if let Some(length) = std::num::NonZeroU64::new(read as u64) {
            use rustix::fs::{Advice, fadvise};
            // Only advice: without it the read was as good.
            let _ = fadvise(&self.file, offset, Some(length), Advice::DontNeed);
        }
        Ok(read)
    }
}

impl ReadAt for RawFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        #[cfg(target_os = "linux")]
        let buffer = {
            let stretch = self.stretch(buffer.len(), offset);
            let buffer = &mut buffer[..stretch.bytes as usize];
            if stretch.in_memory {
                return self.read_from_memory(buffer, offset);
            }
            buffer
        };
        self.read_from_disk(buffer, offset)
    }
}

/// A file whose bytes come from the disk, even those that the system has in memory.
pub(crate) struct FromDisk<'a>(pub(crate) &'a RawFile);

impl ReadAt for FromDisk<'_> {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.0.read_from_disk(buffer, offset)
    }
}

#[cfg(unix)]
fn read_some_at(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    std::os::unix::fs::FileExt::read_at(file, buffer, offset)
}

#[cfg(windows)]
fn read_some_at(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    std::os::windows::fs::FileExt::seek_read(file, buffer, offset)
}
