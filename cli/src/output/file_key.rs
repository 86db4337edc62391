//! Whether two paths name one file.

use std::fs;
use std::path::{Path, PathBuf};

use super::atomic_file::folder_of;

/// What is the same for all paths to a file, also to one that is not there yet: its canonical
/// path, or that of its folder with its name. A path in a folder that is not there is left as it
/// is.
pub(crate) fn file_key(path: &Path) -> PathBuf {
    if let Ok(found) = fs::canonicalize(path) {
        return found;
    }
    match (fs::canonicalize(folder_of(path)), path.file_name()) {
        (Ok(folder), Some(name)) => folder.join(name),
        _ => path.to_owned(),
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
