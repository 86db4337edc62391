//! The check of files that are there already against their published digests.

use std::fs::File;
use std::io::Read;

use crate::error::Error;
use crate::fetch::Watch;
use crate::partial;
use crate::plan::{Planned, State};

const PIECE: usize = 1 << 20;

/// Reads a file that is in its place or in the Hub's cache, and tells whether it is the published
/// one. A file with another digest is planned as missing, and stays until a whole one takes its
/// place. `watch` is told the bytes read.
///
/// # Errors
/// The file cannot be read, or the watcher asked to stop.
pub fn verify(file: &mut Planned, watch: &mut Watch<'_>) -> Result<bool, Error> {
    let path = match &file.state {
        State::Present => &file.place,
        State::Cached(blob) => blob,
        State::Missing { .. } => return Ok(true),
    };
    let failed = |source| Error::Read {
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
            return Err(Error::Cancelled);
        }
    }
    if hasher.finish() == file.entry.digest {
        return Ok(true);
    }
    let begun = partial::length_of(&file.place, &file.entry);
    file.state = State::Missing { partial: begun };
    Ok(false)
}
