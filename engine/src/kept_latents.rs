//! Latents of images that are denoised and not decoded yet, on disk: a run that is killed leaves
//! them for the next one with the same command, which only decodes them.
//!
//! An entry is removed once its image is written. What nobody came for goes after two weeks.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use burn::tensor::{DType, TensorData};

use crate::cache::entry;

/// The most bytes of all entries.
const MAX_BYTES: u64 = 4 << 30;
/// An entry that is older belongs to a run that nobody continues.
const STALE: Duration = Duration::from_secs(14 * 24 * 60 * 60);
/// A temporary file that is older was left by a run that was killed.
const STALE_PART: Duration = Duration::from_secs(24 * 60 * 60);
/// The most bytes of an entry's header and metadata.
const MAX_HEADER_BYTES: u64 = 4096;
const EXTENSION: &str = "safetensors";

/// The folder of latents.
#[derive(Debug)]
pub struct KeptLatents {
    folder: PathBuf,
}

impl KeptLatents {
    /// Opens a folder, which need not be there, and removes what is stale in it.
    pub fn open(folder: &Path) -> Self {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let path = entry.path();
            let most = match path.extension().and_then(|extension| extension.to_str()) {
                Some(EXTENSION) => STALE,
                Some("part") => STALE_PART,
                _ => continue,
            };
            let modified = entry.metadata().and_then(|metadata| metadata.modified());
            let age = modified.ok().and_then(|modified| modified.elapsed().ok());
            if age.is_some_and(|age| age > most) {
                // Another run may have removed it meanwhile.
                let _ = fs::remove_file(path);
            }
        }
        Self {
            folder: folder.to_owned(),
        }
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The latents of a key, if they are there, whole and finite.
    pub fn get(&self, key: &str, shape: [usize; 3]) -> Option<TensorData> {
        let most = 4 * shape.iter().product::<usize>() as u64 + MAX_HEADER_BYTES;
        let mut bytes = Vec::new();
        let file = File::open(self.path(key)).ok()?;
        file.take(most + 1).read_to_end(&mut bytes).ok()?;
        entry::read(&bytes, key, DType::F32, &shape)
    }

    /// Keeps the latents of a key. Those of other runs than the one with the keys `own` make room.
    ///
    /// # Errors
    /// The folder cannot be written to, or is full of this run's own.
    pub fn put(&self, key: &str, latents: &TensorData, own: &HashSet<String>) -> io::Result<()> {
        let bytes = entry::write(latents, key);
        let bytes = bytes.ok_or_else(|| io::Error::other("they are no floats"))?;
        fs::create_dir_all(&self.folder)?;
        self.make_room(MAX_BYTES, bytes.len() as u64, own)?;
        let mut builder = tempfile::Builder::new();
        let mut file = builder
            .prefix(".")
            .suffix(".part")
            .tempfile_in(&self.folder)?;
        file.write_all(&bytes)?;
        file.persist(self.path(key))?;
        Ok(())
    }

    /// Forgets the latents of a key, of which the image is written.
    pub fn remove(&self, key: &str) {
        // It may never have been there. The folder goes with its last entry.
        let _ = fs::remove_file(self.path(key));
        let _ = fs::remove_dir(&self.folder);
    }

    /// Removes the oldest entries of other runs until `more` bytes have room.
    fn make_room(&self, limit: u64, more: u64, own: &HashSet<String>) -> io::Result<()> {
        let mut entries = Vec::new();
        for entry in fs::read_dir(&self.folder)?.flatten() {
            let Ok(metadata) = entry.metadata() else {
                continue;
            };
            let modified = metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH);
            entries.push((modified, metadata.len(), entry.path()));
        }
        entries.sort();
        let mut total: u64 = more + entries.iter().map(|(_, bytes, _)| bytes).sum::<u64>();
        for (_, bytes, path) in entries {
            if total <= limit {
                break;
            }
            let key = path.file_stem().unwrap_or_default().to_string_lossy();
            if !own.contains(&*key) && fs::remove_file(&path).is_ok() {
                total -= bytes;
            }
        }
        if total > limit {
            return Err(io::ErrorKind::StorageFull.into());
        }
        Ok(())
    }

    fn path(&self, key: &str) -> PathBuf {
        self.folder.join(key).with_extension(EXTENSION)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::collections::HashSet;
    use std::fs::{self, File};
    use std::time::{Duration, SystemTime};

    use burn::tensor::TensorData;

    use super::{KeptLatents, STALE};

    const SHAPE: [usize; 3] = [1, 2, 2];

    fn latents() -> TensorData {
        TensorData::new(vec![1.0_f32, -2.0, 0.5, 3.0], SHAPE)
    }

    #[test]
    fn what_is_kept_comes_back_until_it_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        let kept = KeptLatents::open(&folder.path().join("latents"));
        assert!(kept.get("a", SHAPE).is_none());
        kept.put("a", &latents(), &HashSet::new()).unwrap();
        assert_eq!(kept.get("a", SHAPE).unwrap(), latents());
        assert!(kept.get("a", [1, 4, 1]).is_none());
        assert!(kept.get("b", SHAPE).is_none());
        let bytes = fs::read(kept.path("a")).unwrap();
        fs::write(kept.path("a"), &bytes[..bytes.len() - 1]).unwrap();
        assert!(kept.get("a", SHAPE).is_none());
        kept.remove("a");
        kept.remove("a");
        assert!(!kept.folder().exists());
    }

    #[test]
    fn what_is_old_goes_and_others_make_room() {
        let folder = tempfile::tempdir().unwrap();
        let kept = KeptLatents::open(folder.path());
        let none = HashSet::new();
        for key in ["old", "other", "own"] {
            kept.put(key, &latents(), &none).unwrap();
        }
        let past = SystemTime::now() - STALE - Duration::from_secs(60);
        let old = File::options().write(true).open(kept.path("old")).unwrap();
        old.set_modified(past).unwrap();
        let kept = KeptLatents::open(folder.path());
        assert!(kept.get("old", SHAPE).is_none());
        let bytes = fs::metadata(kept.path("own")).unwrap().len();
        let own = HashSet::from(["own".to_owned()]);
        kept.make_room(2 * bytes, bytes, &own).unwrap();
        assert!(kept.get("other", SHAPE).is_none());
        assert!(kept.get("own", SHAPE).is_some());
        assert!(kept.make_room(bytes, bytes, &own).is_err());
        assert!(kept.get("own", SHAPE).is_some());
    }
}
