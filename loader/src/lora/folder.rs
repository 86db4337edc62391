//! LoRAs in a models folder, by name.

use std::path::{Path, PathBuf};

use crate::checkpoint::FILE_SUFFIX;
use crate::models_dir::tree;

/// The folder of a ComfyUI `models` tree that holds LoRAs.
const FOLDER: &str = "loras";

/// The `loras` folder of a models folder; it need not be there.
pub(super) fn folder(models: &Path) -> PathBuf {
    tree(models).join(FOLDER)
}

/// The file that a user means by a path: the one at that path, or else the one below the `loras`
/// folder of a models folder, where `.safetensors` may be left out. A path that is none of these
/// is given back.
pub fn locate(path: &Path, models: Option<&Path>) -> PathBuf {
    if path.exists() {
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
