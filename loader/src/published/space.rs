//! Room on the disk, asked for before it is used.

use std::path::{Path, PathBuf};

use crate::published::{WriteError, WriteFault};

/// Tells whether `needed` bytes can be written at `path`, of which the last parts need not exist
/// yet. They can if the system does not say.
///
/// # Errors
/// [`WriteFault::NoSpace`] with both figures.
pub fn check_space(path: &Path, needed: u64) -> Result<(), WriteError> {
    match free(path) {
        Some(free) if free < needed => Err(WriteError {
            path: path.to_owned(),
            fault: WriteFault::NoSpace { needed, free },
        }),
        _ => Ok(()),
    }
}

/// Bytes that this user may write on the disk of `path`.
#[cfg(unix)]
fn free(path: &Path) -> Option<u64> {
    let absolute: PathBuf = std::path::absolute(path).ok()?;
    let there = absolute.ancestors().find(|folder| folder.exists())?;
    let disk = rustix::fs::statvfs(there).ok()?;
    disk.f_bavail.checked_mul(disk.f_frsize)
}

#[cfg(not(unix))]
fn free(_: &Path) -> Option<u64> {
    None
}

#[cfg(all(test, unix))]
mod tests {
    use super::check_space;
    use crate::published::WriteFault;

    #[test]
    fn more_than_any_disk_is_refused_with_both_figures() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("not/there/yet.safetensors");
        assert!(check_space(&path, 1).is_ok());
        let error = check_space(&path, u64::MAX).expect_err("no such disk");
        let WriteFault::NoSpace { needed, free } = error.fault else {
            panic!("{error}");
        };
        assert_eq!(needed, u64::MAX);
        assert!(free > 0);
        let text = error.to_string();
        assert!(text.contains("yet.safetensors") && text.contains(&free.to_string()));
    }
}
