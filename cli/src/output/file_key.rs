//! A key by which two paths to one file are recognised.

use std::fs;
use std::path::{Component, Path, PathBuf};

/// A key that all paths to a file share, also to a file that is not there yet: its canonical
/// path, or that of the folder above it that is there, with the rest of the path.
pub(crate) fn file_key(path: &Path) -> PathBuf {
    if let Ok(found) = fs::canonicalize(path) {
        return found;
    }
    let is_there = |folder: &&Path| fs::canonicalize(or_here(folder)).is_ok();
    let Some(above) = path.ancestors().skip(1).find(is_there) else {
        return path.to_owned();
    };
    let mut key = fs::canonicalize(or_here(above)).unwrap_or_default();
    let rest = path.strip_prefix(above).unwrap_or(path);
    for component in rest.components() {
        match component {
            // What is not there is no link to elsewhere.
            Component::ParentDir => {
                key.pop();
            }
            Component::Normal(name) => key.push(name),
            _ => {}
        }
    }
    key
}

/// The current folder for an empty path.
fn or_here(folder: &Path) -> &Path {
    if folder.as_os_str().is_empty() {
        Path::new(".")
    } else {
        folder
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::fs;

    use super::file_key;

    #[test]
    fn spellings_of_one_file_have_one_key() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("a")).unwrap();
        for there in [false, true] {
            if there {
                fs::write(folder.path().join("x.png"), "").unwrap();
            }
            let key = file_key(&folder.path().join("x.png"));
            assert_eq!(file_key(&folder.path().join("./x.png")), key);
            assert_eq!(file_key(&folder.path().join("a/../x.png")), key);
            assert_ne!(file_key(&folder.path().join("a/x.png")), key);
            assert_ne!(file_key(&folder.path().join("y.png")), key);
        }
        let key = file_key(&folder.path().join("new/b/x.png"));
        for same in [
            "./new/b/x.png",
            "new/./b/x.png",
            "new/c/../b/x.png",
            "a/../new/b/x.png",
        ] {
            assert_eq!(file_key(&folder.path().join(same)), key, "{same}");
        }
        assert_ne!(file_key(&folder.path().join("new/x.png")), key);
    }

    #[cfg(unix)]
    #[test]
    fn a_link_is_the_file_that_it_names() {
        let folder = tempfile::tempdir().unwrap();
        let (file, link) = (folder.path().join("file"), folder.path().join("link"));
        fs::write(&file, "").unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        assert_eq!(file_key(&link), file_key(&file));
    }
}
