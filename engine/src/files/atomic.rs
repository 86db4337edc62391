//! Files that are there whole or not at all: written beside their place, then renamed into it.

use std::collections::HashSet;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use super::{Existing, Target, with_suffix};
use crate::error::Error;

/// Finds out, before hours of work, whether every one of `paths` can be written: makes and removes
/// a file in each of their folders.
///
/// # Errors
/// [`Error::Output`] naming a path: its folder is missing or read-only, or it is there and is
/// no ordinary file (a rename would replace `/dev/null` itself).
pub fn probe<'a>(paths: impl IntoIterator<Item = &'a PathBuf>) -> Result<(), Error> {
    probe_in(paths, |folder| folder)
}

/// Does the same as [`probe`] where missing folders are going to be made ([`make_folder`]).
///
/// # Errors
/// The errors of [`probe`], and a folder in which the missing ones cannot be made.
pub fn probe_with_folders<'a>(paths: impl IntoIterator<Item = &'a PathBuf>) -> Result<(), Error> {
    probe_in(paths, |folder| {
        let mut above = folder.ancestors();
        let found = above.find(|folder| folder.as_os_str().is_empty() || folder.exists());
        match found {
            Some(found) if !found.as_os_str().is_empty() => found,
            _ => Path::new("."),
        }
    })
}

fn probe_in<'a>(
    paths: impl IntoIterator<Item = &'a PathBuf>,
    place_to_try: impl Fn(&Path) -> &Path,
) -> Result<(), Error> {
    let mut tried = HashSet::new();
    let mut check = |path: &Path| {
        let place = resolve_links(path);
        match fs::metadata(&place) {
            Ok(found) if found.is_dir() => return Err(io::Error::other("is a folder")),
            Ok(found) if !found.is_file() => {
                return Err(io::Error::other("is not an ordinary file"));
            }
            _ => {}
        }
        let folder = place_to_try(folder_of(&place));
        if tried.insert(folder.to_owned()) {
            temporary_in(folder)?.close()?;
        }
        Ok(())
    };
    paths
        .into_iter()
        .try_for_each(|path| check(path).map_err(|source| failed(path, source)))
}

/// Makes the folder of a file, and those above it, where it is not there.
///
/// # Errors
/// [`Error::Output`] naming the file.
pub fn make_folder(path: &Path) -> Result<(), Error> {
    fs::create_dir_all(folder_of(path)).map_err(|source| failed(path, source))
}

/// Writes `bytes` to `path`, over what is there.
///
/// # Errors
/// [`Error::Output`]; nothing is left behind.
pub fn write(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let write = || {
        let place = resolve_links(path);
        let mut file = temporary(&place)?;
        file.write_all(bytes)?;
        file.persist(&place)?;
        Ok(())
    };
    write().map_err(|source| failed(path, source))
}

/// Writes an image to its place, in a folder that is made where it is not there; a name that must
/// not overwrite gets `-2`, `-3`, … until free. Returns where it went.
///
/// # Errors
/// [`Error::Output`]; no file is left behind.
pub fn write_target(target: &Target, bytes: &[u8]) -> Result<PathBuf, Error> {
    make_folder(&target.path)?;
    if target.existing != Existing::Avoided {
        write(&target.path, bytes)?;
        return Ok(target.path.clone());
    }
    let claim = || {
        let mut file = temporary(&target.path)?;
        file.write_all(bytes)?;
        let mut path = target.path.clone();
        for number in 2.. {
            match file.persist_noclobber(&path) {
                Ok(_) => break,
                Err(lost) if lost.error.kind() == io::ErrorKind::AlreadyExists => {
                    file = lost.file;
                    path = with_suffix(&target.path, number);
                }
                Err(lost) => return Err(lost.error),
            }
        }
        Ok(path)
    };
    claim().map_err(|source| failed(&target.path, source))
}

/// Follows a link, so that the file it names is replaced and not the link.
fn resolve_links(path: &Path) -> PathBuf {
    match fs::symlink_metadata(path) {
        Ok(found) if found.is_symlink() => {
            fs::canonicalize(path).unwrap_or_else(|_| path.to_owned())
        }
        _ => path.to_owned(),
    }
}

/// The folder of a file.
fn folder_of(place: &Path) -> &Path {
    match place.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

fn temporary(place: &Path) -> io::Result<NamedTempFile> {
    temporary_in(folder_of(place))
}

fn temporary_in(folder: &Path) -> io::Result<NamedTempFile> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(".qwen-image-").suffix(".part");
    #[cfg(unix)]
    {
        // A temporary file is private by default; the image should be as any new file, less umask.
        use std::os::unix::fs::PermissionsExt;
        builder.permissions(fs::Permissions::from_mode(0o666));
    }
    builder.tempfile_in(folder)
}

/// A failure to write `path`, in words for the user.
pub fn failed(path: &Path, source: io::Error) -> Error {
    // tempfile adds its own random name to the message, which tells the user nothing.
    let reason = match source.kind() {
        io::ErrorKind::NotFound => "the folder does not exist".to_owned(),
        io::ErrorKind::AlreadyExists => "it is a file: name a folder".to_owned(),
        io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        io::ErrorKind::NotADirectory => "its folder is a file".to_owned(),
        io::ErrorKind::StorageFull => "the disk is full".to_owned(),
        io::ErrorKind::ReadOnlyFilesystem => "the file system is read-only".to_owned(),
        _ => source.to_string(),
    };
    Error::Output {
        path: path.to_owned(),
        reason,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::fs;

    use super::{Existing, Target};
    use super::{probe, probe_with_folders, write, write_target};

    #[test]
    fn a_probe_leaves_nothing_behind() {
        let folder = tempfile::tempdir().unwrap();
        probe(&[folder.path().join("x.png")]).unwrap();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
        assert!(probe(&[folder.path().join("no/x.png")]).is_err());
        assert!(probe(&[folder.path().to_owned()]).is_err());
        probe_with_folders(&[folder.path().join("no/where/x.png")]).unwrap();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
        fs::write(folder.path().join("file"), "").unwrap();
        assert!(probe_with_folders(&[folder.path().join("file/x.png")]).is_err());
        assert!(probe_with_folders(&[folder.path().join("file/no/x.png")]).is_err());
    }

    #[test]
    fn the_folder_of_an_image_is_made_with_those_above_it() {
        let folder = tempfile::tempdir().unwrap();
        let target = Target {
            path: folder.path().join("a/b/x.png"),
            existing: Existing::Kept,
        };
        write_target(&target, b"new").unwrap();
        assert_eq!(fs::read(&target.path).unwrap(), b"new");
    }

    #[test]
    fn explicit_names_are_overwritten_and_default_ones_numbered() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.png");
        write(&path, b"old").unwrap();
        let mut target = Target {
            path: path.clone(),
            existing: Existing::Replaced,
        };
        assert_eq!(write_target(&target, b"new").unwrap(), path);
        assert_eq!(fs::read(&path).unwrap(), b"new");
        target.existing = Existing::Avoided;
        assert_eq!(
            write_target(&target, b"2").unwrap(),
            folder.path().join("x-2.png")
        );
        assert_eq!(
            write_target(&target, b"3").unwrap(),
            folder.path().join("x-3.png")
        );
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 3);
    }

    #[cfg(unix)]
    #[test]
    fn devices_are_refused_and_links_followed() {
        use std::os::unix::fs::{PermissionsExt, symlink};
        assert!(probe(&["/dev/null".into()]).is_err());
        let folder = tempfile::tempdir().unwrap();
        let (file, link) = (folder.path().join("file"), folder.path().join("link"));
        fs::write(&file, "").unwrap();
        symlink(&file, &link).unwrap();
        write(&link, b"x").unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::read(&file).unwrap(), b"x");
        let mode = fs::metadata(&file).unwrap().permissions().mode();
        assert_eq!(mode & 0o400, 0o400);
    }
}
