//! A file read in blocks: past the page cache where the file system grants it, else through the
//! cache and out of it again.

use std::fs::File;
use std::io::{self, ErrorKind};
use std::path::Path;
#[cfg(target_os = "linux")]
use std::sync::atomic::{AtomicBool, Ordering};

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
}

/// The same file, opened for reads past the page cache.
#[cfg(target_os = "linux")]
struct Direct {
    file: File,
    /// Some file systems grant the opening and refuse the reads.
    refused: AtomicBool,
}

impl RawFile {
    /// Opens a file for reading.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        Ok(Self {
            #[cfg(target_os = "linux")]
            direct: Direct::open(&file, path),
            file,
        })
    }

    /// The file as the system opens it by default.
    pub(crate) fn file(&self) -> &File {
        &self.file
    }

    /// Tells whether reads go past the page cache.
    pub(crate) fn is_direct(&self) -> bool {
        #[cfg(target_os = "linux")]
        return self.direct.as_ref().is_some_and(Direct::is_granted);
        #[cfg(not(target_os = "linux"))]
        false
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
        if let Some(direct) = self.direct.as_ref().filter(|direct| direct.is_granted()) {
            match read_some_at(&direct.file, buffer, offset) {
                Err(error) if error.kind() == ErrorKind::InvalidInput => {
                    direct.refused.store(true, Ordering::Relaxed);
                }
                done => return done,
            }
        }
        self.read_buffered(buffer, offset)
    }
}

#[cfg(target_os = "linux")]
impl Direct {
    /// `None` where the file system refuses, or where the path has come to mean another file.
    fn open(file: &File, path: &Path) -> Option<Self> {
        use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
        let flags = rustix::fs::OFlags::DIRECT.bits();
        let direct = File::options()
            .read(true)
            .custom_flags(flags.cast_signed())
            .open(path)
            .ok()?;
        let (ours, theirs) = (file.metadata().ok()?, direct.metadata().ok()?);
        let same = (ours.dev(), ours.ino()) == (theirs.dev(), theirs.ino());
        same.then_some(Self {
            file: direct,
            refused: AtomicBool::new(false),
        })
    }

    fn is_granted(&self) -> bool {
        !self.refused.load(Ordering::Relaxed)
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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    /// Gives its bytes in pieces of sizes that a list names, and fails where it says so.
    struct Fitful {
        bytes: Vec<u8>,
        answers: Mutex<Vec<Result<usize, ErrorKind>>>,
    }

    impl ReadAt for Fitful {
        fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
            assert_eq!(buffer.len() % BLOCK, 0);
            assert_eq!(offset % BLOCK as u64, 0);
            let answer = self.answers.lock().unwrap().pop();
            let most = answer.unwrap_or(Ok(usize::MAX))?;
            let rest = self.bytes.get(offset as usize..).unwrap_or_default();
            let read = rest.len().min(buffer.len()).min(most);
            buffer[..read].copy_from_slice(&rest[..read]);
            Ok(read)
        }
    }

    fn fitful(length: usize, mut answers: Vec<Result<usize, ErrorKind>>) -> Fitful {
        answers.reverse();
        Fitful {
            bytes: (0..length).map(|i| (i % 251) as u8).collect(),
            answers: Mutex::new(answers),
        }
    }

    #[test]
    fn short_reads_and_interruptions_are_taken_up_again() {
        let answers = vec![
            Ok(5000),
            Err(ErrorKind::Interrupted),
            Ok(4096),
            Ok(100),
            Ok(100),
        ];
        let file = fitful(20_000, answers);
        let mut buffer = vec![0; 5 * BLOCK];
        // The last answer brings nothing new of its block, as happens only at the end.
        let error = fill(&file, &mut buffer, 0, 20_000).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::UnexpectedEof);
        let file = fitful(
            20_000,
            vec![Ok(5000), Err(ErrorKind::Interrupted), Ok(8192)],
        );
        fill(&file, &mut buffer, 0, 20_000).unwrap();
        assert_eq!(buffer[..20_000], file.bytes);
        fill(&file, &mut buffer, 8192, 20_000 - 8192).unwrap();
        assert_eq!(buffer[..20_000 - 8192], file.bytes[8192..]);
    }

    #[test]
    fn an_early_end_and_a_failing_disk_are_told_apart() {
        let mut buffer = vec![0; 2 * BLOCK];
        let early = fill(&fitful(5000, Vec::new()), &mut buffer, 0, 5001).unwrap_err();
        assert_eq!(early.kind(), ErrorKind::UnexpectedEof);
        fill(&fitful(5000, Vec::new()), &mut buffer, 0, 5000).unwrap();
        let broken = fitful(8192, vec![Ok(4096), Err(ErrorKind::Other)]);
        let error = fill(&broken, &mut buffer, 0, 8192).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Other);
    }

    #[test]
    fn what_is_read_is_the_file_whichever_way() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        let bytes: Vec<u8> = (0..3 * BLOCK + 17).map(|i| (i % 241) as u8).collect();
        std::fs::write(&path, &bytes).unwrap();
        let file = RawFile::open(&path).unwrap();
        let mut buffer = backends::upload::HostBuffer::new(4 * BLOCK).unwrap();
        fill(&file, &mut buffer, 0, bytes.len()).unwrap();
        assert_eq!(buffer[..bytes.len()], bytes);
        let read = file.read_buffered(&mut buffer, BLOCK as u64).unwrap();
        assert_eq!(buffer[..read], bytes[BLOCK..]);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_refused_direct_read_is_done_through_the_cache() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        std::fs::write(&path, [7; BLOCK]).unwrap();
        let file = RawFile::open(&path).unwrap();
        if !file.is_direct() {
            eprintln!("skipped: no direct reads on this file system");
            return;
        }
        // An address that no direct read accepts.
        let mut buffer = vec![0; BLOCK + 1];
        let shift = usize::from((buffer.as_ptr() as usize).is_multiple_of(2));
        let read = file.read_at(&mut buffer[shift..BLOCK + shift], 0).unwrap();
        assert_eq!(buffer[shift..shift + read], [7; BLOCK]);
    }
}
