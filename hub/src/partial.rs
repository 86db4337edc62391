//! A file that is not whole yet. It lies beside its place and outlives the process.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use crate::digest::{Digest, Hasher};
use crate::listing::Entry;

/// The number of the digest's digits in the name, so that another version of the file has another
/// partial file.
const DIGITS: usize = 12;
/// The end of a partial file's name.
const SUFFIX: &str = ".part";
const PIECE: usize = 1 << 20;

/// The partial file's place.
pub(crate) fn path_of(place: &Path, entry: &Entry) -> PathBuf {
    let mut name = place.file_name().unwrap_or_default().to_owned();
    let hex = entry.digest.hex();
    name.push(format!(".{}{SUFFIX}", hex.get(..DIGITS).unwrap_or(hex)));
    place.with_file_name(name)
}

/// The bytes that an earlier download left; 0 where there was none.
pub(crate) fn length_of(place: &Path, entry: &Entry) -> u64 {
    std::fs::metadata(path_of(place, entry)).map_or(0, |found| found.len())
}

/// The bytes that an earlier download left of a file whose digest is not known. The longest counts
/// where there are several versions.
pub(crate) fn length_of_any(place: &Path) -> u64 {
    let name = place.file_name().unwrap_or_default().to_string_lossy();
    let start = format!("{name}.");
    let entries = place
        .parent()
        .and_then(|folder| std::fs::read_dir(folder).ok());
    let lengths = entries.into_iter().flatten().filter_map(|entry| {
        let entry = entry.ok()?;
        let name = entry.file_name();
        let name = name.to_str()?;
        let is_one = name.starts_with(&start) && name.ends_with(SUFFIX);
        is_one.then(|| entry.metadata().map_or(0, |found| found.len()))
    });
    lengths.max().unwrap_or(0)
}

/// A partial file, locked, with the digest of what it holds.
#[derive(Debug)]
pub(crate) struct Partial {
    path: PathBuf,
    file: File,
    size: u64,
    fresh: Hasher,
    hasher: Hasher,
    done: u64,
}

/// Why a partial file cannot be opened.
pub(crate) enum OpenFault {
    /// Another process has it.
    Busy,
    /// The file system refuses.
    Io(io::Error),
    /// The watcher asked to stop.
    Cancelled,
}

impl From<io::Error> for OpenFault {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl Partial {
    /// Opens the partial file of `place`, or begins it, and reads through what it holds. `watch`
    /// is told the bytes read.
    pub(crate) fn open(
        place: &Path,
        entry: &Entry,
        watch: &mut dyn FnMut(u64) -> ControlFlow<()>,
    ) -> Result<Self, OpenFault> {
        let path = path_of(place, entry);
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(OpenFault::Busy),
            // Some network file systems know no locks; two processes at once are rare.
            Err(TryLockError::Error(_)) => {}
        }
        let fresh = entry.digest.hasher(entry.size);
        let mut partial = Self {
            path,
            file,
            size: entry.size,
            hasher: fresh.clone(),
            fresh,
            done: 0,
        };
        partial.replay(watch)?;
        Ok(partial)
    }

    /// The number of bytes that it holds.
    pub(crate) fn done(&self) -> u64 {
        self.done
    }

    /// Appends bytes.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)?;
        self.hasher.update(bytes);
        self.done += bytes.len() as u64;
        Ok(())
    }

    /// Empties it.
    pub(crate) fn restart(&mut self) -> io::Result<()> {
        self.file.set_len(0)?;
        self.file.seek(SeekFrom::Start(0))?;
        self.hasher = self.fresh.clone();
        self.done = 0;
        Ok(())
    }

    /// Leaves what came for the next download. A file into which nothing came is removed.
    pub(crate) fn leave(self) {
        if self.done == 0 {
            // An empty file that stays does no harm.
            let _ = std::fs::remove_file(&self.path);
        }
    }

    /// Moves the file to `place` if its digest is the published one. Otherwise removes it and
    /// returns the digest that it has.
    pub(crate) fn finish(self, place: &Path, entry: &Entry) -> io::Result<Result<(), Digest>> {
        let found = self.hasher.finish();
        if found != entry.digest {
            std::fs::remove_file(&self.path)?;
            return Ok(Err(found));
        }
        self.file.sync_all()?;
        std::fs::rename(&self.path, place)?;
        Ok(Ok(()))
    }

    fn replay(&mut self, watch: &mut dyn FnMut(u64) -> ControlFlow<()>) -> Result<(), OpenFault> {
        if self.file.metadata()?.len() > self.size {
            self.restart()?;
        }
        let mut piece = vec![0; PIECE];
        loop {
            let read = self.file.read(&mut piece)?;
            if read == 0 {
                return Ok(());
            }
            self.hasher.update(&piece[..read]);
            self.done += read as u64;
            if watch(self.done).is_break() {
                return Err(OpenFault::Cancelled);
            }
        }
    }
}
