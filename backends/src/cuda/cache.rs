//! Compiled kernels in the user's cache folder, so that only a first run compiles them.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::Write;
use std::path::PathBuf;

use crate::cube::kernel_cache;

/// One compiled text.
pub(super) struct Entry {
    path: Option<PathBuf>,
}

impl Entry {
    /// Names the entry of a source text, compiled by a compiler of this version for this target.
    /// Without a cache folder it is always empty.
    pub(super) fn of(source: &str, target: &str, compiler: (i32, i32)) -> Self {
        let mut hasher = DefaultHasher::new();
        (source, target, compiler, env!("CARGO_PKG_VERSION")).hash(&mut hasher);
        let name = format!("{target}-{:016x}.bin", hasher.finish());
        let folder = kernel_cache::folder().map(|folder| folder.join("kernels"));
        Self {
            path: folder.map(|folder| folder.join(name)),
        }
    }

    /// Reads what an earlier run compiled.
    pub(super) fn read(&self) -> Option<Vec<u8>> {
        let bytes = std::fs::read(self.path.as_ref()?).ok()?;
        (!bytes.is_empty()).then_some(bytes)
    }

    /// Keeps compiled code. A failure to write costs the next run its time to compile, and nothing
    /// else.
    pub(super) fn write(&self, bytes: &[u8]) {
        let Some(path) = &self.path else { return };
        let Some(folder) = path.parent() else { return };
        let _ = std::fs::create_dir_all(folder).and_then(|()| {
            let mut file = tempfile::NamedTempFile::new_in(folder)?;
            file.write_all(bytes)?;
            file.persist(path)?;
            Ok(())
        });
    }
}
