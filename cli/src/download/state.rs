//! What is there already, and what is left to fetch.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use super::cache;
use super::catalogue::Source;
use super::error::DownloadError;
use super::hub::Hub;
use super::listing::{Entry, Listing};
use super::partial;

/// A file to have in the tree.
#[derive(Debug)]
pub(crate) struct Planned {
    /// Where it comes from.
    pub(crate) source: Source,
    /// Its address, as of one commit.
    pub(crate) url: String,
    /// Where it goes.
    pub(crate) place: PathBuf,
    /// Its size and digest.
    pub(crate) entry: Entry,
    /// How much of it is there.
    pub(crate) state: State,
}

/// How much of a file is there.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// All of it. Files come to their places only with the right digest, so that one of the right
    /// size is taken for the file.
    Present,
    /// All of it, in the Hub's cache.
    Cached(PathBuf),
    /// A part, or nothing.
    Missing {
        /// Bytes that an earlier download left.
        partial: u64,
    },
}

impl Planned {
    /// Looks a file up in its repository's list and on the disk.
    ///
    /// # Errors
    /// The repository does not have it, or something else is in its place.
    pub(crate) fn new(
        hub: &Hub,
        listings: &BTreeMap<&'static str, Listing>,
        source: Source,
        models: &Path,
    ) -> Result<Self, DownloadError> {
        let place = models.join(source.folder).join(source.name());
        let listing = listings.get(source.repository);
        let found = listing.and_then(|listing| Some((listing, listing.get(source.path)?)));
        let Some((listing, entry)) = found else {
            return Err(DownloadError::NoFile {
                place: hub.page(source.repository),
                path: source.path.to_owned(),
                there: listing.map_or_else(Vec::new, |listing| listing.beside(source.path)),
            });
        };
        Ok(Self {
            url: hub.file_url(source.repository, &listing.commit, source.path),
            state: State::of(hub, &source, &place, entry)?,
            entry: entry.clone(),
            source,
            place,
        })
    }

    /// Bytes to come over the network, all of which need room.
    pub(crate) fn missing(&self) -> u64 {
        match self.state {
            State::Present | State::Cached(_) => 0,
            State::Missing { partial } => self.entry.size.saturating_sub(partial),
        }
    }
}

impl State {
    fn of(hub: &Hub, source: &Source, place: &Path, entry: &Entry) -> Result<Self, DownloadError> {
        if let Ok(found) = fs::metadata(place) {
            if found.is_file() && found.len() == entry.size {
                return Ok(Self::Present);
            }
            return Err(DownloadError::Occupied {
                path: place.to_owned(),
                found: found.len(),
                expected: entry.size,
            });
        }
        let cached = hub
            .cache()
            .and_then(|folder| cache::find(folder, source.repository, entry));
        if let Some(blob) = cached {
            return Ok(Self::Cached(blob));
        }
        Ok(Self::Missing {
            partial: partial::length_of(place, entry),
        })
    }
}
