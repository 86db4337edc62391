//! The hash of all that embeddings depend on beside the prompt's tokens.

use std::fs;
use std::io;
use std::path::Path;
use std::time::UNIX_EPOCH;

use backends::DeviceChoice;
use sha2::{Digest, Sha256};

use super::Encoder;
use crate::files::digest;

/// Hashes the text encoder's files and sizes, the device, the number formats and this program's own
/// file.
///
/// # Errors
/// A file that cannot be looked at.
pub(super) fn of(encoder: &Encoder<'_>, device: &DeviceChoice) -> io::Result<Sha256> {
    let mut hash = Sha256::new();
    add_build(&mut hash)?;
    add_text(&mut hash, &format!("{:?}", encoder.config));
    for file in encoder.weights.checkpoint().files() {
        add_file(&mut hash, &file.path)?;
        add_text(&mut hash, &digest::of_file(&file.path)?);
    }
    let found = backends::device::probe(device.kind).unwrap_or_default();
    let mut found = found.iter();
    let named = found.find(|found| found.index == device.index);
    let name = named.map_or("", |found| found.name.as_str());
    add_text(&mut hash, device.kind.name());
    add_text(&mut hash, name);
    hash.update((device.index as u64).to_le_bytes());
    add_text(&mut hash, encoder.numerics);
    Ok(hash)
}

/// Adds this program's own file. Kernels are part of it: another build may round otherwise.
///
/// # Errors
/// A file that cannot be looked at.
pub fn add_build(hash: &mut Sha256) -> io::Result<()> {
    add_file(hash, &std::env::current_exe()?)
}

/// Adds a file's path, size and times.
fn add_file(hash: &mut Sha256, path: &Path) -> io::Result<()> {
    let path = fs::canonicalize(path)?;
    let metadata = fs::metadata(&path)?;
    add_text(hash, &path.to_string_lossy());
    hash.update(metadata.len().to_le_bytes());
    let modified = metadata.modified()?.duration_since(UNIX_EPOCH);
    let modified = modified.map_err(io::Error::other)?;
    hash.update(modified.as_nanos().to_le_bytes());
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        hash.update(metadata.ino().to_le_bytes());
        // A copy over the file may keep its time of modification, but not this one.
        hash.update(metadata.ctime().to_le_bytes());
        hash.update(metadata.ctime_nsec().to_le_bytes());
    }
    Ok(())
}

/// Adds a text with its length, so that no two sequences of texts look the same.
fn add_text(hash: &mut Sha256, text: &str) {
    hash.update((text.len() as u64).to_le_bytes());
    hash.update(text.as_bytes());
}
