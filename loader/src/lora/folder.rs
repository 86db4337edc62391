//! LoRAs in a models folder, by name.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use super::Lora;
use super::adapters::check_fit;
use super::config::PEFT_FILE;
use crate::checkpoint::file_names;
use crate::container::safetensors::ENDING;
use crate::error::LoadError;
use crate::models_dir::{LORAS, MAX_DEPTH, tree};
use crate::text::Excerpt;
use crate::weights::Weights;

/// The name that diffusers gives a LoRA's file.
const DIFFUSERS_FILE: &str = "pytorch_lora_weights.safetensors";

/// The `loras` folder of a models folder; it need not be there.
pub(super) fn folder(models: &Path) -> PathBuf {
    tree(models).join(LORAS)
}

/// Tells whether a file is a LoRA's by its name: its ending may be in capitals, and what macOS
/// writes beside files on other disks does not count.
pub(super) fn is_lora_file(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    has_suffix(&name) && !name.starts_with("._") && !path.is_dir()
}

fn has_suffix(name: &str) -> bool {
    let at = name.len().saturating_sub(ENDING.len());
    let ending = name.get(at..);
    ending.is_some_and(|ending| ending.eq_ignore_ascii_case(ENDING))
}

/// The file of a LoRA's folder: PEFT's or diffusers' own, or the only one. None for what is no
/// folder, and where there is a choice to be made or nothing to choose.
///
/// # Errors
/// A folder that cannot be read.
pub(super) fn file_in(path: &Path) -> Result<Option<PathBuf>, LoadError> {
    if !path.is_dir() {
        return Ok(None);
    }
    for name in [PEFT_FILE, DIFFUSERS_FILE] {
        let file = path.join(name);
        if file.is_file() {
            return Ok(Some(file));
        }
    }
    let files = file_names(path)?.into_iter().map(|name| path.join(name));
    let files: Vec<PathBuf> = files.filter(|file| is_lora_file(file)).collect();
    match files.as_slice() {
        [only] => Ok(Some(only.clone())),
        _ => Ok(None),
    }
}

/// Tells whether something at this path can be opened as a LoRA, by its name alone.
fn is_there(path: &Path) -> bool {
    path.is_file() || file_in(path).is_ok_and(|file| file.is_some())
}

/// The LoRA that a user means by a path: the file at that path, or the folder with one in it; or
/// else what has that name below the `loras` folder of a models folder, where `.safetensors` may be
/// left out. Where several in subfolders have the name, those for other models than the
/// transformer do not count. A path of something else, as that of a folder, is given back.
///
/// # Errors
/// [`LoadError::NoSuchLora`] where there is nothing of that name, if a folder was searched for it;
/// [`LoadError::SeveralLoras`]; that folder if it cannot be read.
pub fn locate(
    path: &Path,
    models: Option<&Path>,
    transformer: &Weights,
) -> Result<PathBuf, LoadError> {
    let as_given = || Ok(path.to_path_buf());
    let Some(models) = models.filter(|_| !is_there(path)) else {
        return as_given();
    };
    let folder = folder(models);
    let named = folder.join(path);
    if is_there(&named) {
        return Ok(named);
    }
    let parent = named.parent().unwrap_or(&folder);
    if let Some(name) = path.file_name()
        && parent.is_dir()
    {
        let names = file_names(parent)?.into_iter();
        let mut files = names.map(|name| parent.join(name));
        if let Some(file) = files.find(|file| is_lora_file(file) && is_named(file, name)) {
            return Ok(file);
        }
    }
    if path.is_absolute() || path.exists() {
        return as_given();
    }
    if path.parent() == Some(Path::new(""))
        && let Some(name) = path.file_name()
    {
        let found = fitting(below(&folder, &|path| is_named(path, name))?, transformer);
        match found.as_slice() {
            [] => {}
            [only] => return Ok(only.clone()),
            several => {
                return Err(LoadError::SeveralLoras {
                    path: path.into(),
                    files: shown_below(&folder, several),
                    dir: folder,
                });
            }
        }
    }
    let found = below(&folder, &is_lora_file)?;
    let files = shown_below(&folder, &found);
    Err(LoadError::NoSuchLora {
        path: path.into(),
        files: folder.is_dir().then_some(files),
        dir: folder,
    })
}

/// Tells whether a LoRA has this name, in which the ending may be missing; a folder with one in it
/// is one too.
fn is_named(path: &Path, name: &OsStr) -> bool {
    let Some(found) = path.file_name() else {
        return false;
    };
    let without_ending = path.file_stem() == Some(name) && is_lora_file(path);
    (found == name || without_ending) && is_there(path)
}

/// All LoRAs of this name in the `loras` folder of a models folder and in its subfolders, files and
/// folders; the ending may be missing.
///
/// # Errors
/// A folder that cannot be read.
pub fn find_by_name(models: &Path, name: &str) -> Result<Vec<PathBuf>, LoadError> {
    below(&folder(models), &|path| is_named(path, name.as_ref()))
}

/// The relation of a file to a transformer.
pub(super) enum Fit {
    /// A LoRA for it.
    Fits,
    /// Another model's.
    AnotherModels,
    /// It cannot be read.
    Damaged(LoadError),
}

/// Checks that a LoRA is one for a transformer.
///
/// # Errors
/// [`LoadError::Lora`] for one of another model; a damaged file.
pub fn check(path: &Path, transformer: &Weights) -> Result<(), LoadError> {
    check_fit(&Lora::open(path)?, transformer)
}

/// Looks whether a LoRA is one for a transformer.
pub(super) fn fit(path: &Path, transformer: &Weights) -> Fit {
    match check(path, transformer) {
        Ok(()) => Fit::Fits,
        Err(LoadError::Lora { .. }) => Fit::AnotherModels,
        Err(error) => Fit::Damaged(error),
    }
}

/// Leaves out those of several LoRAs that are for other models than the transformer, if one of them
/// is for it.
pub fn fitting(mut paths: Vec<PathBuf>, transformer: &Weights) -> Vec<PathBuf> {
    if paths.len() > 1 {
        let fits = |path: &PathBuf| matches!(fit(path, transformer), Fit::Fits);
        let fits: Vec<bool> = paths.iter().map(fits).collect();
        if fits.contains(&true) {
            let mut fits = fits.into_iter();
            paths.retain(|_| fits.next() == Some(true));
        }
    }
    paths
}

/// Paths as they are called below a folder.
pub(super) fn shown_below(folder: &Path, paths: &[PathBuf]) -> Vec<Excerpt> {
    let shown = paths.iter().map(|path| {
        let shown = path.strip_prefix(folder).unwrap_or(path);
        Excerpt::new(&shown.to_string_lossy())
    });
    shown.collect()
}

/// The paths that are wanted of a folder and of those in it, as deep as models are looked for.
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
