//! What is known of a file without the Hub.

use std::fs;
use std::path::{Path, PathBuf};

use super::catalogue::Source;
use super::partial;

/// A file of the catalogue, and how much of it is there.
#[derive(Debug)]
pub(crate) struct Known {
    /// Where it comes from.
    pub(crate) source: Source,
    /// Where it goes.
    pub(crate) place: PathBuf,
    /// Its bytes: those that are in its place, or else those that it had when it was published.
    pub(crate) size: Option<u64>,
    /// Whether a file is in its place.
    pub(crate) is_there: bool,
    /// Bytes that an earlier download left.
    pub(crate) partial: u64,
}

impl Known {
    /// Looks for a file on the disk.
    pub(crate) fn of(source: Source, models: &Path) -> Self {
        let place = models.join(source.folder).join(source.name());
        let there = fs::metadata(&place).ok().filter(|found| found.is_file());
        Self {
            size: there
                .as_ref()
                .map_or_else(|| source.known_size(), |found| Some(found.len())),
            is_there: there.is_some(),
            partial: partial::length_of_any(&place),
            source,
            place,
        }
    }
}
