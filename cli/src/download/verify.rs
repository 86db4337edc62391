//! Files that are there already, held against their published digests.

use std::fs::File;
use std::io::Read;

use super::error::DownloadError;
use super::fetch::Watch;
use super::partial;
use super::state::{Planned, State};

const PIECE: usize = 1 << 20;

/// Reads a file that is there, or in the Hub's cache. One that has another digest is planned as
/// missing; it stays until a whole one takes its place. `watch` is told the bytes read.
///
/// Returns whether what is there is right.
///
/// # Errors
/// The file cannot be read, or the watcher asked to stop.
pub(crate) fn verify(file: &mut Planned, watch: &mut Watch<'_>) -> Result<bool, DownloadError> {
    let path = match &file.state {
        State::Present => &file.place,
        State::Cached(blob) => blob,
        State::Missing { .. } => return Ok(true),
    };
    let failed = |source| DownloadError::Read {
        path: path.clone(),
        source,
    };
    let mut bytes = File::open(path).map_err(failed)?;
    let mut hasher = file.entry.digest.hasher(file.entry.size);
    let mut piece = vec![0; PIECE];
    let mut done = 0;
    loop {
        let read = bytes.read(&mut piece).map_err(failed)?;
        if read == 0 {
            break;
        }
        hasher.update(&piece[..read]);
        done += read as u64;
        if watch(done).is_break() {
            return Err(DownloadError::Interrupted);
        }
    }
    if hasher.finish() == file.entry.digest {
        return Ok(true);
    }
    let begun = partial::length_of(&file.place, &file.entry);
    file.state = State::Missing { partial: begun };
    Ok(false)
}
