//! Reads past the page cache.

use std::fs::File;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{Advice, fadvise};

/// A file that is opened once more, for reads past the page cache.
pub(super) struct Direct {
    file: File,
    /// Some file systems grant the opening and refuse the reads.
    refused: AtomicBool,
}

impl Direct {
    /// `None` where the file system refuses, or where the path has come to mean another file.
    pub(super) fn open(file: &File, path: &Path) -> Option<Self> {
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

    pub(super) fn file(&self) -> &File {
        &self.file
    }

    pub(super) fn is_granted(&self) -> bool {
        !self.refused.load(Ordering::Relaxed)
    }

    /// Notes that a read was refused: the next ones are not tried.
    pub(super) fn refuse(&self) {
        self.refused.store(true, Ordering::Relaxed);
    }
}

/// Keeps the system from reading ahead of what is asked for through the page cache: what it read
/// ahead would be taken for what was there before.
pub(super) fn leave_neighbours_alone(file: &File) {
    // Only advice: without it the reads are as good.
    let _ = fadvise(file, 0, None, Advice::Random);
}
