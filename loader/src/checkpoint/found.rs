//! A checkpoint that was found in a folder or named by a user.

use std::path::{Path, PathBuf};

use super::Checkpoint;
use crate::error::LoadError;

/// The place of a checkpoint, with the checkpoint itself if its headers had to be read to find it:
/// they need not be read again.
#[derive(Clone, Debug)]
pub struct FoundCheckpoint {
    path: PathBuf,
    opened: Option<Checkpoint>,
}

impl FoundCheckpoint {
    /// The file or folder for [`Checkpoint::open`].
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Opens it, unless it is open.
    ///
    /// # Errors
    /// The same as of [`Checkpoint::open`].
    pub fn open(self) -> Result<Checkpoint, LoadError> {
        match self.opened {
            Some(checkpoint) => Ok(checkpoint),
            None => Checkpoint::open(&self.path),
        }
    }
}

impl From<PathBuf> for FoundCheckpoint {
    fn from(path: PathBuf) -> Self {
        Self { path, opened: None }
    }
}

impl From<Checkpoint> for FoundCheckpoint {
    fn from(checkpoint: Checkpoint) -> Self {
        Self {
            path: checkpoint.source().to_path_buf(),
            opened: Some(checkpoint),
        }
    }
}
