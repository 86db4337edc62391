//! Which version of a file it was.

use std::fs::Metadata;
use std::time::SystemTime;

/// A mark that tells two versions of a file apart, and two files of one name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FileVersion {
    /// Size in bytes.
    pub len: u64,
    /// When it was last written, where the file system knows.
    pub modified: Option<SystemTime>,
    /// Its number in its file system; 0 where there is none.
    pub inode: u64,
}

impl FileVersion {
    /// The version by an open file's metadata.
    pub(crate) fn of(metadata: &Metadata) -> Self {
        #[cfg(unix)]
        let inode = std::os::unix::fs::MetadataExt::ino(metadata);
        #[cfg(not(unix))]
        let inode = 0;
        Self {
            len: metadata.len(),
            modified: metadata.modified().ok(),
            inode,
        }
    }
}
