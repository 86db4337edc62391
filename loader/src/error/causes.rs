//! Errors of a load, from what caused them.

use std::io;
use std::path::Path;

use backends::upload::UploadError;

use super::LoadError;
use crate::text::Excerpt;

impl LoadError {
    /// Tells whether loading was stopped by the user, not by a fault.
    pub fn is_cancelled(&self) -> bool {
        matches!(self, Self::Cancelled)
    }

    /// The error of a checkpoint whose upload failed.
    pub fn upload(source: &Path, error: UploadError) -> Self {
        let file = source.to_path_buf();
        match error {
            UploadError::OutOfMemory { needed, free } => Self::OutOfMemory { file, needed, free },
            UploadError::HostMemory { needed } => Self::HostMemory { file, needed },
            other => Self::Device {
                file,
                message: Excerpt::new(&other.to_string()),
            },
        }
    }

    pub(crate) fn io(path: &Path, error: io::Error) -> Self {
        Self::Io {
            path: path.to_path_buf(),
            error,
        }
    }
}
