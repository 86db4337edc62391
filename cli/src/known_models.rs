//! Remembers that this user has had real models, so that a run that does not find them, as one that
//! is started without the variables of a login, does not draw with the demo model in their stead.

use std::fs;
use std::path::{Path, PathBuf};

use engine::files::atomic;

use crate::args::Environment;

/// The file with the place of the models, in the program's folder of the user's state.
const FILE: &str = "models-used";
/// A path is no longer than that anywhere.
const MAX_BYTES: u64 = 1 << 16;

/// Notes where real models are, or are going to be. Where that cannot be written, nothing is
/// remembered.
pub(crate) fn remember(environment: Environment<'_>, models: &Path) {
    let Some(file) = file(environment) else {
        return;
    };
    let models = std::path::absolute(models).unwrap_or_else(|_| models.to_owned());
    if recall(environment).is_some_and(|known| known == models) {
        return;
    }
    let text = models.to_string_lossy();
    let _ = atomic::make_folder(&file).and_then(|()| atomic::write(&file, text.as_bytes()));
}

/// Looks up where real models were at the last run.
pub(crate) fn recall(environment: Environment<'_>) -> Option<PathBuf> {
    let file = file(environment)?;
    let found = fs::metadata(&file).ok()?;
    if !found.is_file() || found.len() > MAX_BYTES {
        return None;
    }
    let text = fs::read(&file).ok()?;
    Some(PathBuf::from(
        String::from_utf8_lossy(&text).trim().to_owned(),
    ))
}

fn file(environment: Environment<'_>) -> Option<PathBuf> {
    let state = environment.state_folder()?;
    Some(state.join("qwen-image-burn").join(FILE))
}
