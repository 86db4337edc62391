//! A file that is not whole yet: it lies beside its place and outlives the process.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use super::digest::Hasher;
use super::listing::Entry;

/// Digits of the digest in the name: another version of the file has another partial file.
const DIGITS: usize = 12;
/// How partial files end.
const SUFFIX: &str = ".part";
const PIECE: usize = 1 << 20;

/// The partial file's place.
pub(super) fn path_of(place: &Path, entry: &Entry) -> PathBuf {
    let mut name = place.file_name().unwrap_or_default().to_owned();
    let hex = entry.digest.hex();
    name.push(format!(".{}{SUFFIX}", hex.get(..DIGITS).unwrap_or(hex)));
    place.with_file_name(name)
}

/// Bytes that an earlier download left; 0 where there was none.
pub(super) fn length_of(place: &Path, entry: &Entry) -> u64 {
    std::fs::metadata(path_of(place, entry)).map_or(0, |found| found.len())
}

/// Bytes that an earlier download left of a file whose digest is not known; of several versions,
/// the longest.
pub(super) fn length_of_any(place: &Path) -> u64 {
    let name = place.file_name().unwrap_or_default().to_string_lossy();
    let start = format!("{name}.");
    let entries = place
        .parent()
        .and_then(|folder| std::fs::read_dir(folder).ok());
    let lengths = entries.into_iter().flatten().filter_map(|entry| {
        let entry = entry.ok()?;
        let name = entry.file_name();
        let name = name.to_str()?;
        let is_one = name.starts_with(&start) && is_partial(name);
        is_one.then(|| entry.metadata().map_or(0, |found| found.len()))
    });
    lengths.max().unwrap_or(0)
}

/// Whether a file of this name is a partial file.
fn is_partial(name: &str) -> bool {
    name.ends_with(SUFFIX)
}

/// A partial file, locked, with the digest of what it holds.
#[derive(Debug)]
pub(super) struct Partial {
    path: PathBuf,
    file: File,
    size: u64,
    fresh: Hasher,
    hasher: Hasher,
    done: u64,
}

/// Why there is none.
pub(super) enum OpenFault {
    /// Another process has it.
    Busy,
    /// The file system refuses.
    Io(io::Error),
    /// The watcher asked to stop.
    Stopped,
}

impl From<io::Error> for OpenFault {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl Partial {
    /// Opens the one of `place`, or begins it, and reads through what it holds. `watch` is told
    /// the bytes read.
    pub(super) fn open(
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

    /// Bytes that it holds.
    pub(super) fn done(&self) -> u64 {
        self.done
    }

    /// Appends bytes.
    pub(super) fn push(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)?;
        self.hasher.update(bytes);
        self.done += bytes.len() as u64;
        Ok(())
    }

    /// Empties it.
    pub(super) fn restart(&mut self) -> io::Result<()> {
        self.file.set_len(0)?;
        self.file.seek(SeekFrom::Start(0))?;
        self.hasher = self.fresh.clone();
        self.done = 0;
        Ok(())
    }

    /// Leaves what came for the next download, if anything did.
    pub(super) fn leave(self) {
        if self.done == 0 {
            // Nothing is lost if it stays.
            let _ = std::fs::remove_file(&self.path);
        }
    }

    /// Moves it to `place` if its digest is the published one; else removes it and returns the
    /// digest that it has.
    pub(super) fn finish(
        self,
        place: &Path,
        entry: &Entry,
    ) -> io::Result<Result<(), super::digest::Digest>> {
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
                return Err(OpenFault::Stopped);
            }
        }
    }
}
