//! LoRAs in a models folder, by name.

use std::path::{Path, PathBuf};

use crate::checkpoint::{FILE_SUFFIX, file_names};
use crate::error::LoadError;
use crate::models_dir::{MAX_DEPTH, tree};

/// The folder of a ComfyUI `models` tree that holds LoRAs.
const FOLDER: &str = "loras";

/// The `loras` folder of a models folder; it need not be there.
pub(super) fn folder(models: &Path) -> PathBuf {
    tree(models).join(FOLDER)
}

/// The file that a user means by a path: the file at that path, or else the one below the `loras`
/// folder of a models folder, where `.safetensors` may be left out. A path that is none of these,
/// as that of a folder, is given back.
pub fn locate(path: &Path, models: Option<&Path>) -> PathBuf {
    if path.is_file() {
        return path.to_path_buf();
    }
    let below = models.map(|models| folder(models).join(path));
    let with_suffix = below.clone().map(|below| {
        let mut name = below.into_os_string();
        name.push(FILE_SUFFIX);
        PathBuf::from(name)
    });
    let mut candidates = [below, with_suffix].into_iter().flatten();
    let found = candidates.find(|candidate| candidate.is_file());
    found.unwrap_or_else(|| path.to_path_buf())
}

/// All files and folders of this name in the `loras` folder of a models folder and in its
/// subfolders.
///
/// # Errors
/// A folder that cannot be read.
pub fn find_by_name(models: &Path, name: &str) -> Result<Vec<PathBuf>, LoadError> {
    let is_it = |path: &Path| path.file_name().is_some_and(|found| found == name);
    below(&folder(models), &is_it)
}

/// What is wanted of a folder and of those in it, as deep as models are looked for.
///
/// # Errors
/// A folder that cannot be read.
pub(super) fn below(
    folder: &Path,
    wanted: &dyn Fn(&Path) -> bool,
) -> Result<Vec<PathBuf>, LoadError> {
    let mut found = Vec::new();
    if folder.is_dir() {
        collect(folder, MAX_DEPTH, wanted, &mut found)?;
    }
    Ok(found)
}

fn collect(
    dir: &Path,
    depth: usize,
    wanted: &dyn Fn(&Path) -> bool,
    found: &mut Vec<PathBuf>,
) -> Result<(), LoadError> {
    for name in file_names(dir)? {
        let path = dir.join(&name);
        if wanted(&path) {
            found.push(path);
        } else if depth > 0 && path.is_dir() {
            collect(&path, depth - 1, wanted, found)?;
        }
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::{find_by_name, locate};

    #[test]
    fn a_folder_elsewhere_does_not_hide_a_lora_of_the_models_folder() {
        let place = tempfile::tempdir().unwrap();
        let (models, elsewhere) = (place.path().join("models"), place.path().join("style"));
        let lora = models.join("loras/style.safetensors");
        fs::create_dir_all(models.join("loras")).unwrap();
        fs::create_dir(&elsewhere).unwrap();
        // A path from the root is not looked for below `loras`.
        assert_eq!(locate(&elsewhere, Some(&models)), elsewhere);
        fs::write(&lora, "").unwrap();
        // Tests run in the crate's folder, which has a folder of this name.
        assert!(Path::new("src").is_dir());
        let named = models.join("loras/src.safetensors");
        fs::write(&named, "").unwrap();
        assert_eq!(locate(Path::new("src"), Some(&models)), named);
        assert_eq!(locate(Path::new("src"), None), Path::new("src"));
        assert_eq!(locate(&lora, Some(&models)), lora);
    }

    #[test]
    fn names_are_found_in_subfolders() {
        let models = tempfile::tempdir().unwrap();
        let find = || find_by_name(models.path(), "style.safetensors").unwrap();
        assert!(find().is_empty());
        let loras = models.path().join("loras");
        for folder in ["", "a/b/c", "a/b/c/d"] {
            fs::create_dir_all(loras.join(folder)).unwrap();
            fs::write(loras.join(folder).join("style.safetensors"), "").unwrap();
        }
        let expected = ["a/b/c", ""].map(|folder| loras.join(folder).join("style.safetensors"));
        assert_eq!(find(), expected);
        assert!(
            find_by_name(models.path(), "../style.safetensors")
                .unwrap()
                .is_empty()
        );
    }
}
