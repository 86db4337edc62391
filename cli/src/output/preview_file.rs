//! The file beside a picture that shows what it will be.

use std::fs;
use std::path::{Path, PathBuf};

use super::atomic_file;
use crate::error::CliError;

/// Where the preview of a picture goes: `fox.png` has `fox.preview.png`.
pub(crate) fn path_of(picture: &Path) -> PathBuf {
    picture.with_extension("preview.png")
}

/// A preview that is there until this value is dropped.
#[derive(Debug)]
pub(crate) struct PreviewFile {
    path: PathBuf,
    written: bool,
}

impl PreviewFile {
    /// The one of a picture, not written yet.
    pub(crate) fn of(picture: &Path) -> Self {
        Self {
            path: path_of(picture),
            written: false,
        }
    }

    /// Writes a preview, over the one before.
    ///
    /// # Errors
    /// [`CliError::Output`]; the one before stays.
    pub(crate) fn write(&mut self, png: &[u8]) -> Result<(), CliError> {
        atomic_file::write(&self.path, png)?;
        self.written = true;
        Ok(())
    }
}

impl Drop for PreviewFile {
    fn drop(&mut self) {
        if self.written {
            // The picture, or the reason why there is none, is what the user wants to hear of.
            let _ = fs::remove_file(&self.path);
        }
    }
}
