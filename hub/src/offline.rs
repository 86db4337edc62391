//! A file of the catalogue as it is on the disk, without asking the Hub.

use std::fs;
use std::path::{Path, PathBuf};

use crate::catalogue::Source;
use crate::partial;

/// A file of the catalogue, and how much of it is on the disk.
#[derive(Debug)]
pub struct Known {
    /// The source of the file.
    pub source: Source,
    /// The path of the file on this machine.
    pub place: PathBuf,
    /// Bytes of the file in its place, if one is there.
    pub there: Option<u64>,
    /// Bytes that an earlier download left.
    pub partial: u64,
}

impl Known {
    /// Looks for a file of the tree `models` on the disk.
    pub fn look(source: Source, models: &Path) -> Self {
        let place = source.place_in(models);
        let there = fs::metadata(&place).ok().filter(|found| found.is_file());
        Self {
            there: there.map(|found| found.len()),
            partial: partial::length_of_any(&place),
            source,
            place,
        }
    }
}
