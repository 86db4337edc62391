//! The files that a stream reads again and again.

use std::path::Path;

use crate::error::LoadError;
use crate::source::{RawFile, ReadAt, Source};

/// The open files of a checkpoint, shared by the threads that read them.
pub(super) trait Files: Send + Sync + 'static {
    type File: ReadAt;

    /// The files, in the order of the checkpoint.
    fn all(&self) -> Vec<&Self::File>;

    /// The path of a file.
    fn path(&self, file: usize) -> &Path;

    /// Fails if a file was written to since its header was read.
    fn check_versions(&self) -> Result<(), LoadError>;
}

impl Files for Source {
    type File = RawFile;

    fn all(&self) -> Vec<&RawFile> {
        self.raws()
    }

    fn path(&self, file: usize) -> &Path {
        self.path(file)
    }

    fn check_versions(&self) -> Result<(), LoadError> {
        self.check_versions()
    }
}
