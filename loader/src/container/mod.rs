//! Files that hold tensors, whatever their format: which tensors, of which type, and where.
//!
//! Each format has a module of its own, which checks a file's header in full before anything else
//! happens with the file, and names what is wrong with it. Everything after that works with any
//! [`Container`].

pub mod safetensors;

mod tensor;
mod version;

use std::fmt;
use std::fs::Metadata;
use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;

pub use tensor::TensorEntry;
pub use version::FileVersion;

use crate::error::LoadError;

/// A file of tensors whose header has been read and checked, but none of its tensors.
pub trait Container: fmt::Debug + Send + Sync {
    /// The tensors in the order of their bytes in the file.
    fn tensors(&self) -> &[TensorEntry];

    /// The text that the file has under a key of its metadata.
    fn text(&self, key: &str) -> Option<&str>;

    /// The version of the file that was opened.
    fn version(&self) -> FileVersion;
}

/// Opens a file in the format that it has.
///
/// # Errors
/// [`LoadError::Header`] for a file that is damaged or of no known format; whatever keeps it from
/// being read.
pub fn open(path: &Path) -> Result<Arc<dyn Container>, LoadError> {
    // Nothing at the beginning of a safetensors file marks it: it is what no other format is.
    Ok(Arc::new(safetensors::Header::open(path)?))
}

/// Endings of the names that files of tensors have, in small or in capital letters.
const ENDINGS: [&str; 1] = [safetensors::ENDING];

/// The name of a file of tensors without its ending; `None` for a name with another ending.
pub(crate) fn without_ending(name: &str) -> Option<&str> {
    let mut endings = ENDINGS.iter();
    endings.find_map(|ending| strip_ending(name, ending))
}

/// A name without an ending, which may be in capital letters.
pub(crate) fn strip_ending<'a>(name: &'a str, ending: &str) -> Option<&'a str> {
    let (name, found) = name.split_at_checked(name.len().checked_sub(ending.len())?)?;
    found.eq_ignore_ascii_case(ending).then_some(name)
}

/// The metadata of a regular file, or a clear error for anything else.
pub(crate) fn file_metadata(path: &Path) -> Result<Metadata, LoadError> {
    let metadata = std::fs::metadata(path).map_err(|error| match error.kind() {
        ErrorKind::NotFound => LoadError::NotFound {
            path: path.to_path_buf(),
        },
        _ => LoadError::io(path, error),
    })?;
    if metadata.is_dir() {
        return Err(LoadError::IsDirectory {
            path: path.to_path_buf(),
        });
    }
    if !metadata.is_file() {
        return Err(LoadError::NotAFile {
            path: path.to_path_buf(),
        });
    }
    Ok(metadata)
}
