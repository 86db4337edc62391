//! A folder of entries whose size is bounded.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use burn::tensor::{DType, TensorData};

use super::entry;

/// A temporary file that is older was left by a run that was killed.
const STALE: Duration = Duration::from_secs(24 * 60 * 60);
/// The most bytes of an entry's header and metadata.
const MAX_HEADER_BYTES: u64 = 4096;
const EXTENSION: &str = "safetensors";

/// A folder of entries; those that were used least recently make room for new ones.
#[derive(Debug, Clone)]
pub(crate) struct Entries {
    folder: PathBuf,
    /// The most bytes of all entries.
    limit: u64,
}

impl Entries {
    /// The entries in a folder, which need not be there.
    pub(crate) fn new(folder: &Path, limit: u64) -> Self {
        Self {
            folder: folder.to_owned(),
            limit,
        }
    }

    /// The values of a key, if they are there, whole and finite.
    pub(crate) fn get(&self, key: &str, dtype: DType, shape: &[usize]) -> Option<TensorData> {
        let path = self.path(key);
        let elements = shape.iter().product::<usize>();
        let most = (dtype.size() * elements) as u64 + MAX_HEADER_BYTES;
        let mut bytes = Vec::new();
        let file = File::open(&path).ok()?;
        file.take(most + 1).read_to_end(&mut bytes).ok()?;
        let values = entry::read(&bytes, key, dtype, shape)?;
        // Only the order in which entries are dropped depends on it.
        let _ = File::options()
            .write(true)
            .open(&path)
            .and_then(|file| file.set_modified(SystemTime::now()));
        Some(values)
    }

    /// Keeps the values of a key.
    pub(crate) fn put(&self, key: &str, values: &TensorData) {
        if let Some(bytes) = entry::write(values, key) {
            // Without a cache the next run is slower, and that is all.
            let _ = self.store(key, &bytes);
            let _ = prune(&self.folder, self.limit);
        }
    }

    fn store(&self, key: &str, bytes: &[u8]) -> std::io::Result<()> {
        fs::create_dir_all(&self.folder)?;
        let mut builder = tempfile::Builder::new();
        let mut file = builder
            .prefix(".")
            .suffix(".part")
            .tempfile_in(&self.folder)?;
        file.write_all(bytes)?;
        file.persist(self.path(key))?;
        Ok(())
    }

    /// The file of a key.
    pub(crate) fn path(&self, key: &str) -> PathBuf {
        self.folder.join(key).with_extension(EXTENSION)
    }
}

/// Drops the entries that were used least recently until all take at most `limit` bytes, and what
/// killed runs left.
fn prune(folder: &Path, limit: u64) -> std::io::Result<()> {
    let mut entries = Vec::new();
    for entry in fs::read_dir(folder)?.flatten() {
        let path = entry.path();
        let Ok(metadata) = entry.metadata() else {
            continue;
        };
        let modified = metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH);
        match path.extension().and_then(|extension| extension.to_str()) {
            Some(EXTENSION) => entries.push((modified, metadata.len(), path)),
            Some("part") if modified.elapsed().is_ok_and(|age| age > STALE) => {
                let _ = fs::remove_file(path);
            }
            _ => {}
        }
    }
    entries.sort();
    let mut total: u64 = entries.iter().map(|(_, bytes, _)| bytes).sum();
    for (_, bytes, path) in entries {
        if total <= limit {
            break;
        }
        // Another run may have dropped it meanwhile.
        let _ = fs::remove_file(path);
        total -= bytes;
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_entries_are_dropped_and_what_killed_runs_left() {
        let folder = tempfile::tempdir().unwrap();
        let now = SystemTime::now();
        let file = |name: &str, hours: u64| {
            let path = folder.path().join(name);
            fs::write(&path, [0; 100]).unwrap();
            let age = Duration::from_secs(3600 * hours);
            let file = File::options().write(true).open(path).unwrap();
            file.set_modified(now - age).unwrap();
        };
        file("a.safetensors", 3);
        file("b.safetensors", 1);
        file("c.safetensors", 2);
        file(".new.part", 1);
        file(".old.part", 48);
        file("other", 99);
        prune(folder.path(), 250).unwrap();
        let mut names: Vec<String> = fs::read_dir(folder.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        assert_eq!(
            names,
            [".new.part", "b.safetensors", "c.safetensors", "other"]
        );
        prune(folder.path(), 0).unwrap();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
    }

    #[test]
    fn an_entry_that_is_read_stays_longer_than_others() {
        let folder = tempfile::tempdir().unwrap();
        let values = TensorData::new(vec![1.0f32; 100], [100]);
        let one = entry::write(&values, "a").unwrap().len() as u64;
        let entries = Entries::new(folder.path(), 2 * one);
        entries.put("a", &values);
        entries.put("b", &values);
        for (key, hours) in [("a", 3), ("b", 2)] {
            let file = File::options().write(true).open(entries.path(key)).unwrap();
            let age = Duration::from_secs(3600 * hours);
            file.set_modified(SystemTime::now() - age).unwrap();
        }
        assert!(entries.get("a", DType::F32, &[100]).is_some());
        entries.put("c", &values);
        let there = ["a", "b", "c"].map(|key| entries.path(key).exists());
        assert_eq!(there, [true, false, true]);
    }
}
