//! Images that an earlier run has made.

use std::path::{Path, PathBuf};

use engine::files::Target;
use engine::record::{ImageFile, Recipe};

/// An image that an earlier run has made.
#[derive(Debug)]
pub(super) struct Made {
    /// Its place among all images, from 0.
    pub(super) place: usize,
    /// Its file.
    pub(super) path: PathBuf,
    /// How it was made.
    pub(super) recipe: Recipe,
}

/// The file that holds this very image, if there is one.
pub(super) fn already_made(target: &Target, recipe: &Recipe) -> Option<PathBuf> {
    target
        .existing()
        .into_iter()
        .find(|path| held_by(path, recipe).is_some_and(|file| file.is_whole()))
}

/// A file that holds the image of this recipe, perhaps in part.
pub(super) fn held_by(path: &Path, recipe: &Recipe) -> Option<ImageFile> {
    // Whatever is wrong with a file, it is not this image.
    let file = ImageFile::open(path).ok()?;
    let recorded = file.recipe().ok()??;
    recipe.is_recorded_as(&recorded).then_some(file)
}
