//! The plan of a download: which files are there already, and what is left to fetch.

use std::collections::BTreeMap;
use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use crate::cache;
use crate::catalogue::{Source, Variant};
use crate::client::Hub;
use crate::error::Error;
use crate::listing::{Entry, Listing};
use crate::partial;

/// A file of a planned download.
#[derive(Debug)]
pub struct Planned {
    /// The source of the file.
    pub source: Source,
    /// Its address, which names the commit.
    pub url: String,
    /// The path of the file on this machine.
    pub place: PathBuf,
    /// Its size and digest.
    pub entry: Entry,
    /// How much of it is there.
    pub state: State,
}

/// How much of a file is there.
#[derive(Debug, PartialEq, Eq)]
pub enum State {
    /// The whole file is there. Files come to their places only with the right digest, so that a
    /// file of the right size is taken for the published one.
    Present,
    /// The Hub's cache has the whole file here.
    Cached(PathBuf),
    /// A part of the file is there, or nothing.
    Missing {
        /// Bytes that an earlier download left.
        partial: u64,
    },
}

/// An event that [`plan`] tells its watcher.
#[derive(Debug, Clone, Copy)]
pub enum Asked<'a> {
    /// A repository (`OWNER/NAME`) is asked for its list.
    Before(&'a str),
    /// It has answered.
    After(&'a str, &'a Listing),
}

/// Asks the Hub for the files of a variant, and looks for them in the tree `models`. `watch` is
/// told of each repository before and after it is asked.
///
/// # Errors
/// The Hub does not answer or refuses, a repository lacks a file, something else is in a file's
/// place, or the watcher asked to stop.
pub fn plan(
    hub: &Hub,
    variant: Variant,
    models: &Path,
    watch: &mut dyn FnMut(Asked<'_>) -> ControlFlow<()>,
) -> Result<Vec<Planned>, Error> {
    let sources = variant.sources(models);
    let mut tell = |asked: Asked<'_>| match watch(asked) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(()) => Err(Error::Cancelled),
    };
    let mut listings: BTreeMap<&'static str, Listing> = BTreeMap::new();
    for source in &sources {
        let name = source.repository;
        if listings.contains_key(name) {
            continue;
        }
        tell(Asked::Before(name))?;
        let listing = hub.listing(name)?;
        tell(Asked::After(name, &listing))?;
        listings.insert(name, listing);
    }
    let planned = sources
        .into_iter()
        .map(|source| Planned::new(hub, &listings, source, models));
    planned.collect()
}

impl Planned {
    /// Looks a file up in its repository's list and on the disk.
    ///
    /// # Errors
    /// The repository does not have it, or something else is in its place.
    fn new(
        hub: &Hub,
        listings: &BTreeMap<&'static str, Listing>,
        source: Source,
        models: &Path,
    ) -> Result<Self, Error> {
        let place = source.place_in(models);
        let listing = listings.get(source.repository);
        let found = listing.and_then(|listing| Some((listing, listing.get(source.path)?)));
        let Some((listing, entry)) = found else {
            return Err(Error::NoFile {
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

    /// Bytes to come over the network, all of which need room on the disk.
    pub fn missing(&self) -> u64 {
        match self.state {
            State::Present | State::Cached(_) => 0,
            State::Missing { partial } => self.entry.size.saturating_sub(partial),
        }
    }
}

impl State {
    fn of(hub: &Hub, source: &Source, place: &Path, entry: &Entry) -> Result<Self, Error> {
        if let Ok(found) = fs::metadata(place) {
            if found.is_file() && found.len() == entry.size {
                return Ok(Self::Present);
            }
            return Err(Error::Occupied {
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
