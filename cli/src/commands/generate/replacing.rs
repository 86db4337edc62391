//! Files that are there already: nothing is lost that the user has not given up.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::path::{Path, PathBuf};

use engine::files::Existing;
use engine::models::demo;
use engine::record::ImageFile;
use engine::record::Recipe;

use super::batch::Batch;
use super::made::held_by;
use super::request::Wanted;
use crate::args::{GenerateConfig, PromptSource};
use crate::error::CliError;
use crate::output::file_key::file_key;

/// Refuses images that would replace others, unless the user says so or has named the one file.
///
/// # Errors
/// [`CliError::Usage`] with their number and the first of them.
pub(super) fn check(batch: &Batch<'_>) -> Result<(), CliError> {
    if batch.config.overwrite {
        return Ok(());
    }
    let images = batch.job.images().iter().zip(&batch.files);
    let kept = images.filter(|(_, file)| file.target.existing == Existing::Kept);
    let mut replaced = kept.filter(|(image, file)| {
        let path = &file.target.path;
        path.exists() && held_by(path, &image.settled.recipe).is_none()
    });
    let Some((_, first)) = replaced.next() else {
        return Ok(());
    };
    let first = &first.target.path;
    let advice = match &batch.config.prompt {
        PromptSource::File(_) if !batch.config.output.follows_recipes() => {
            "; a name with %h, such as fox-%h.png, follows each line's content, so that lines may \
             come and go"
        }
        _ => "",
    };
    Err(CliError::Usage(format!(
        "{} of {} images would replace a file that holds something else (the first is {}): \
         --overwrite replaces them, another --output keeps them{advice}",
        1 + replaced.count(),
        batch.total,
        first.display()
    )))
}

/// Refuses the demo model where nobody asked for it and images are there that another model has
/// drawn, or that it would replace.
///
/// # Errors
/// [`engine::Error::ModelFile`] naming the first of them.
pub(super) fn check_demo(config: &GenerateConfig, requests: &[Wanted]) -> Result<(), CliError> {
    if !config.sources.is_demo() || config.sources.demo_asked {
        return Ok(());
    }
    // Names that follow recipes are no other model's.
    let targets = requests.iter().map(|request| &request.target);
    let mut targets = targets.filter(|target| !target.waits_for_digest());
    let found = targets.find_map(|target| {
        let replaces = target.existing != Existing::Avoided;
        let mut existing = target.existing().into_iter();
        existing.find(|path| is_not_the_demos(path, replaces))
    });
    match found {
        Some(path) => Err(CliError::model_file(format!(
            "no models are named, and {} is there, which the demo model has not drawn: name a \
             folder of models by --models DIR or in QWEN_IMAGE_MODELS, or another --output; \
             --demo draws with the built-in demo model",
            path.display()
        ))),
        None => Ok(()),
    }
}

/// Tells whether a file is another model's image, or `or_else` for one that does not tell.
fn is_not_the_demos(path: &Path, or_else: bool) -> bool {
    let recipe = ImageFile::open(path).and_then(|file| file.recipe_json());
    let recipe = recipe.ok().flatten();
    match recipe.as_ref().and_then(|recipe| recipe["model"].as_str()) {
        Some(model) => !demo::is_its_name(model),
        None => or_else,
    }
}

/// The images of which the names follow the recipes.
#[derive(Debug, Default)]
pub(super) struct ByRecipe(HashMap<PathBuf, (String, Option<String>)>);

impl ByRecipe {
    /// Adds an image and the line that asks for it. Returns the line that has asked for the same
    /// image before, if one has.
    ///
    /// # Errors
    /// [`engine::Error::Input`] for another image of the same name.
    pub(super) fn add(
        &mut self,
        path: &Path,
        recipe: &Recipe,
        origin: Option<&str>,
    ) -> Result<Option<String>, CliError> {
        let digest = recipe.digest()?;
        match self.0.entry(file_key(path)) {
            Entry::Vacant(free) => {
                free.insert((digest, origin.map(str::to_owned)));
                Ok(None)
            }
            Entry::Occupied(taken) => {
                let (before, line) = taken.get();
                let line = line.clone().unwrap_or_default();
                if *before == digest {
                    return Ok(Some(line));
                }
                Err(CliError::input(format!(
                    "{}: its image {} is also that of {line}; give it an `output`",
                    origin.unwrap_or_default(),
                    path.display()
                )))
            }
        }
    }
}
