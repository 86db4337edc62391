//! A checkpoint's files while they are in use from their mappings.

use std::fs::File;
use std::path::Path;

use crate::error::LoadError;
use crate::source::Source;
use crate::weights::Weights;

/// A checkpoint's files, held open so that it can be told whether they were written to. A file
/// that was renamed over or unlinked is still there for who holds it, and unchanged.
pub struct WatchedFiles(Source);

impl WatchedFiles {
    /// Opens the files of a checkpoint, which must be those whose headers were read.
    ///
    /// # Errors
    /// [`LoadError::Changed`]; a file that cannot be opened.
    pub fn open(weights: &Weights) -> Result<Self, LoadError> {
        Source::open(weights.checkpoint().files()).map(Self)
    }

    /// Each file's path, its handle, and the length that it had.
    pub fn files(&self) -> impl Iterator<Item = (&Path, &File, u64)> {
        self.0.files()
    }

    /// Compares the files' lengths and times of modification with those of when their headers were
    /// read.
    ///
    /// # Errors
    /// [`LoadError::ChangedInUse`] names the first that differs.
    pub fn check(&self) -> Result<(), LoadError> {
        self.0.check_versions().map_err(|error| match error {
            LoadError::Changed { file } => LoadError::ChangedInUse { file },
            error => error,
        })
    }
}
