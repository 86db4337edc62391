//! The cache that huggingface_hub and programs like it share.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::listing::Entry;

/// The file of a repository in the cache folder `hub`, if it is there whole.
///
/// The cache names contents by their digests: `models--OWNER--NAME/blobs/DIGEST`.
pub(super) fn find(hub: &Path, repository: &str, entry: &Entry) -> Option<PathBuf> {
    let blob = hub
        .join(folder_of(repository))
        .join("blobs")
        .join(entry.digest.hex());
    let found = fs::metadata(&blob).ok()?;
    (found.is_file() && found.len() == entry.size).then_some(blob)
}

/// The folder of a repository in the cache.
pub(crate) fn folder_of(repository: &str) -> String {
    format!("models--{}", repository.replace('/', "--"))
}

/// Makes `place` the same file as `blob`, without a second copy: a hard link, so that the cache can
/// be cleared; on another disk a symbolic one.
pub(super) fn link(blob: &Path, place: &Path) -> io::Result<()> {
    let blob = fs::canonicalize(blob)?;
    fs::hard_link(&blob, place).or_else(|error| symbolic(&blob, place).map_err(|_| error))
}

#[cfg(unix)]
fn symbolic(blob: &Path, place: &Path) -> io::Result<()> {
    std::os::unix::fs::symlink(blob, place)
}

#[cfg(windows)]
fn symbolic(blob: &Path, place: &Path) -> io::Result<()> {
    std::os::windows::fs::symlink_file(blob, place)
}

#[cfg(not(any(unix, windows)))]
fn symbolic(_: &Path, _: &Path) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}
