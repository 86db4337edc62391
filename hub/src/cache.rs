//! The cache folder that huggingface_hub and programs like it share.
//!
//! It has a folder for each repository, `models--OWNER--NAME`, with the contents of files in
//! `blobs/DIGEST`, the commit of each branch in `refs/BRANCH`, and in `snapshots/COMMIT` the files
//! of a commit under their own names.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::listing::Entry;

/// The folder of a repository (`OWNER/NAME`) in the cache folder `cache`, which may not be there.
pub fn repository(cache: &Path, name: &str) -> PathBuf {
    cache.join(format!("models--{}", name.replace('/', "--")))
}

/// The folder in `cache` with the files of a repository as of its branch `main`, if `main` was ever
/// downloaded; any of the repository's files may be missing in it.
pub fn snapshot(cache: &Path, name: &str) -> Option<PathBuf> {
    let repository = repository(cache, name);
    let commit = fs::read_to_string(repository.join("refs").join("main")).ok()?;
    Some(repository.join("snapshots").join(commit.trim()))
}

/// A file of a repository in `cache`, if it is there whole.
pub(crate) fn find(cache: &Path, name: &str, entry: &Entry) -> Option<PathBuf> {
    let blob = repository(cache, name)
        .join("blobs")
        .join(entry.digest.hex());
    let found = fs::metadata(&blob).ok()?;
    (found.is_file() && found.len() == entry.size).then_some(blob)
}

/// Makes `place` the same file as `blob` without a second copy: by a hard link, so that the cache
/// can be cleared, or by a symbolic link where the two are on different disks.
pub(crate) fn link(blob: &Path, place: &Path) -> io::Result<()> {
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
