//! LoRAs in a models folder, by name.

use std::path::{Path, PathBuf};

use crate::checkpoint::{FILE_SUFFIX, file_names};
use crate::error::LoadError;
use crate::models_dir::{LORAS, MAX_DEPTH, tree};
use crate::text::Excerpt;

/// The `loras` folder of a models folder; it need not be there.
pub(super) fn folder(models: &Path) -> PathBuf {
    tree(models).join(LORAS)
}

/// The file that a user means by a path: the file at that path, or else the one below the `loras`
/// folder of a models folder, where `.safetensors` may be left out. A path of something else, as
/// that of a folder, is given back.
///
/// # Errors
/// [`LoadError::NoSuchLora`] where there is nothing of that name, if a folder was searched for it;
/// that folder if it cannot be read.
pub fn locate(path: &Path, models: Option<&Path>) -> Result<PathBuf, LoadError> {
    let as_given = || Ok(path.to_path_buf());
    let Some(models) = models.filter(|_| !path.is_file()) else {
        return as_given();
    };
    let folder = folder(models);
    let named = folder.join(path);
    let mut with_suffix = named.clone().into_os_string();
    with_suffix.push(FILE_SUFFIX);
    for candidate in [named, with_suffix.into()] {
        if candidate.is_file() {
            return Ok(candidate);
        }
    }
    if path.is_absolute() || path.exists() {
        return as_given();
    }
    let is_file = |path: &Path| path.to_string_lossy().ends_with(FILE_SUFFIX) && !path.is_dir();
    let found = below(&folder, &is_file)?;
    let files = found.iter().map(|path| {
        let shown = path.strip_prefix(&folder).unwrap_or(path);
        Excerpt::new(&shown.to_string_lossy())
    });
    Err(LoadError::NoSuchLora {
        path: path.into(),
        files: folder.is_dir().then(|| files.collect()),
        dir: folder,
    })
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
        assert_eq!(locate(&elsewhere, Some(&models)).unwrap(), elsewhere);
        fs::write(&lora, "").unwrap();
        // Tests run in the crate's folder, which has a folder of this name.
        assert!(Path::new("src").is_dir());
        let named = models.join("loras/src.safetensors");
        fs::write(&named, "").unwrap();
        assert_eq!(locate(Path::new("src"), Some(&models)).unwrap(), named);
        assert_eq!(locate(Path::new("src"), None).unwrap(), Path::new("src"));
        assert_eq!(locate(&lora, Some(&models)).unwrap(), lora);
    }

    #[test]
    fn a_lora_that_is_not_there_is_told_with_those_that_are() {
        let models = tempfile::tempdir().unwrap();
        let missing = |path: &str| {
            let found = locate(Path::new(path), Some(models.path()));
            found.map_err(|error| error.to_string())
        };
        let told = missing("no-such-lora").unwrap_err();
        assert!(told.contains("loras, which is not there"), "{told}");
        fs::create_dir_all(models.path().join("loras/a")).unwrap();
        let told = missing("no-such-lora").unwrap_err();
        assert!(told.contains("loras, which holds no LoRA"), "{told}");
        fs::write(models.path().join("loras/a/style.safetensors"), "").unwrap();
        fs::write(models.path().join("loras/notes.txt"), "").unwrap();
        let told = missing("no-such-lora").unwrap_err();
        assert!(
            told.ends_with("loras, which holds a/style.safetensors"),
            "{told}"
        );
        // Only a relative path can be below that folder.
        assert_eq!(
            missing("/no-such-lora").unwrap(),
            Path::new("/no-such-lora")
        );
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
