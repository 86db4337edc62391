//! The record in an image's file, from which the image is made again.

mod check;

use std::path::{Path, PathBuf};

use super::foreign::{self, Foreign};
use super::incomplete::LostSetting;
use super::metadata::{ImageFile, PARAMETERS, input};
use super::parameters::{self, parsed};
use super::recipe::Recipe;
use super::texts::Texts;
use crate::error::Error;
use crate::record::UsedLora;
use crate::request::Sampling;

/// The record of an image, as far as its file tells how it was made.
#[derive(Debug)]
pub struct Recorded {
    /// The image's file.
    pub path: PathBuf,
    /// The prompt.
    pub prompt: String,
    /// The negative prompt.
    pub negative_prompt: Option<String>,
    /// The width in pixels.
    pub width: Option<i64>,
    /// The height in pixels.
    pub height: Option<i64>,
    /// Denoising steps.
    pub steps: Option<i64>,
    /// The sampler and schedule, where they are told and exist here.
    pub sampling: Option<Sampling>,
    /// Guidance scale.
    pub cfg_scale: Option<f64>,
    /// Seed of the noise.
    pub seed: Option<i128>,
    /// The whole recipe, where this program made the image.
    pub recipe: Option<Recipe>,
    /// The strength: how much of the image that it started from was changed.
    pub strength: Option<f64>,
    /// Its LoRAs.
    pub loras: Vec<UsedLora>,
    /// The steps of the Lightning LoRA, where one is told.
    pub lightning: Option<usize>,
    /// The settings of this program's text that do not tell enough, where the recipe is gone.
    lost: Vec<(LostSetting, String)>,
    /// Name of the model, where it is told.
    model: Option<String>,
    /// Settings of this program's text that are not understood.
    left: Vec<String>,
    /// The record of another program, where one made the image.
    foreign: Option<Foreign>,
}

impl Recorded {
    /// Reads the record of an image that this program made, or another program whose recipe is
    /// understood.
    ///
    /// # Errors
    /// [`Error::Input`]: the file is missing, damaged, or does not tell.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let file = ImageFile::open(path)?;
        if let Some(recipe) = file.recipe()? {
            return Self::of_recipe(path, recipe);
        }
        Self::of_texts(path, &file.texts)
    }

    fn of_texts(path: &Path, texts: &Texts) -> Result<Self, Error> {
        if let Some(text) = own_text(texts) {
            return Ok(Self::of_own_text(path, text));
        }
        match Self::foreign_of(texts) {
            Ok(Some(foreign)) => Ok(Self::of_foreign(path, foreign)),
            Ok(None) => Err(input(
                path,
                "holds no generation parameters: its program wrote none, or they were removed",
            )),
            Err(reason) => Err(input(path, &reason)),
        }
    }

    /// The record of another program in a file's texts; `None` where there is nothing of the kind.
    ///
    /// # Errors
    /// A description of what the file holds and is not read.
    pub fn foreign_of(texts: &Texts) -> Result<Option<Foreign>, String> {
        if own_text(texts).is_some() {
            return Ok(None);
        }
        match (foreign::recognise(texts)?, texts.what_there_is()) {
            (None, Some(there)) => Err(format!("holds no recipe that is read, only {there}")),
            (found, _) => Ok(found),
        }
    }

    fn of_foreign(path: &Path, foreign: Foreign) -> Self {
        let found = foreign.clone();
        Self {
            path: path.to_owned(),
            prompt: found.prompt,
            negative_prompt: found.negative_prompt,
            width: found.width,
            height: found.height,
            steps: found.steps,
            sampling: found.sampling,
            cfg_scale: found.cfg_scale,
            seed: found.seed,
            strength: found.strength,
            loras: found.loras,
            lightning: found.lightning,
            lost: Vec::new(),
            model: found.model,
            recipe: None,
            left: Vec::new(),
            foreign: Some(foreign),
        }
    }

    fn of_recipe(path: &Path, recipe: Recipe) -> Result<Self, Error> {
        recipe
            .check()
            .map_err(|reason| input(path, &format!("its recipe cannot be followed: {reason}")))?;
        Ok(Self {
            path: path.to_owned(),
            prompt: recipe.prompt.clone(),
            negative_prompt: recipe.negative_prompt.clone(),
            width: Some(recipe.width.into()),
            height: Some(recipe.height.into()),
            steps: i64::try_from(recipe.steps).ok(),
            sampling: Some(recipe.sampling()),
            cfg_scale: Some(recipe.cfg_scale),
            seed: recipe.seed.map(i128::from),
            strength: recipe.strength,
            loras: recipe.loras.clone(),
            lightning: recipe.lightning,
            lost: Vec::new(),
            model: Some(recipe.model.clone()),
            recipe: Some(recipe),
            left: Vec::new(),
            foreign: None,
        })
    }

    /// The record in this program's text without the recipe beside it.
    fn of_own_text(path: &Path, text: parsed::Parsed) -> Self {
        let lost = |setting: LostSetting| Some((setting, text.value(setting.key())?.to_owned()));
        let found = Foreign::of_parameters(&text);
        let sampling = parameters::sampling(&text);
        let left = [
            ("Steps", found.steps.is_some()),
            ("Size", found.width.is_some()),
            ("CFG scale", found.cfg_scale.is_some()),
            ("Seed", found.seed.is_some()),
            ("Sampler", sampling.is_some()),
        ];
        let left = left.into_iter().filter_map(|(key, is_taken)| {
            let value = text.value(key).filter(|_| !is_taken)?;
            Some(format!("{key}: {value}"))
        });
        Self {
            path: path.to_owned(),
            width: found.width,
            height: found.height,
            steps: found.steps,
            sampling,
            cfg_scale: found.cfg_scale,
            seed: found.seed,
            strength: found.strength,
            loras: Vec::new(),
            lightning: text
                .value("Lightning")
                .and_then(|steps| steps.trim().parse().ok()),
            lost: LostSetting::ALL.into_iter().filter_map(lost).collect(),
            left: left.collect(),
            recipe: None,
            model: found.model,
            foreign: None,
            prompt: text.prompt,
            negative_prompt: text.negative_prompt,
        }
    }
}

/// This program's `parameters` text.
fn own_text(texts: &Texts) -> Option<parsed::Parsed> {
    let text = texts.get(PARAMETERS).and_then(parsed::parse)?;
    let version = text.value("Version")?;
    version.starts_with("qwen-image-burn").then_some(text)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
