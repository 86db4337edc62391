//! The hash of all that a result depends on beside what it was computed from.

use std::fs;
use std::io;
use std::path::Path;
use std::time::UNIX_EPOCH;

use backends::DeviceChoice;
use sha2::{Digest, Sha256};

use crate::files::digest;

/// A hash that the keys of results begin with.
#[derive(Debug, Clone)]
pub(crate) struct Identity(Sha256);

impl Identity {
    /// Hashes this program's own file and the device.
    ///
    /// # Errors
    /// A file cannot be looked at.
    pub(crate) fn of(device: &DeviceChoice) -> io::Result<Self> {
        let mut hash = Sha256::new();
        add_build(&mut hash)?;
        let found = backends::device::probe(device.kind).unwrap_or_default();
        let mut found = found.iter();
        let named = found.find(|found| found.index == device.index);
        let name = named.map_or("", |found| found.name.as_str());
        add_text(&mut hash, device.kind.name());
        add_text(&mut hash, name);
        hash.update((device.index as u64).to_le_bytes());
        Ok(Self(hash))
    }

    /// Adds a text, such as sizes or number formats.
    pub(crate) fn add_text(&mut self, text: &str) {
        add_text(&mut self.0, text);
    }

    /// Adds a file: its path, size and times, and a digest of its contents.
    ///
    /// # Errors
    /// The file cannot be looked at.
    pub(crate) fn add_file(&mut self, path: &Path) -> io::Result<()> {
        add_file(&mut self.0, path)?;
        add_text(&mut self.0, &digest::of_file(path)?);
        Ok(())
    }

    /// The key of a result, which depends on what `add` adds to the hash.
    pub(crate) fn key(&self, add: impl FnOnce(&mut Sha256)) -> String {
        let mut hash = self.0.clone();
        add(&mut hash);
        format!("{:x}", hash.finalize())
    }

    /// An identity of nothing.
    #[cfg(test)]
    pub(crate) fn empty() -> Self {
        Self(Sha256::new())
    }
}

/// Adds this program's own file. Kernels are part of it: another build may round otherwise.
///
/// # Errors
/// The file cannot be looked at.
pub(crate) fn add_build(hash: &mut Sha256) -> io::Result<()> {
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
