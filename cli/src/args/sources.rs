//! Where the model files are, checked.

use std::path::PathBuf;

use super::environment::Environment;
use super::groups::SourceArgs;
use super::lora::LoraConfig;
use crate::error::CliError;
use crate::usual_places::UsualPlaces;

/// Where the model files are, from flags and environment.
#[derive(Debug, Clone)]
pub(crate) struct ModelSources {
    /// A ComfyUI tree or a diffusers folder.
    pub(crate) models: Option<PathBuf>,
    /// `--checkpoint`.
    pub(crate) checkpoint: Option<PathBuf>,
    /// `--transformer`.
    pub(crate) transformer: Option<PathBuf>,
    /// `--text-encoder`.
    pub(crate) text_encoder: Option<PathBuf>,
    /// `--vae`.
    pub(crate) vae: Option<PathBuf>,
    /// `--tokenizer`.
    pub(crate) tokenizer: Option<PathBuf>,
    /// `--lora` and `--lightning`.
    pub(crate) loras: LoraConfig,
    /// Whether the user asked for the demo model.
    pub(crate) demo_asked: bool,
}

impl ModelSources {
    /// The flags, completed by QWEN_IMAGE_MODELS, QWEN_IMAGE_TOKENIZER and what the usual places
    /// hold; adds a notice where that or the demo model is used unasked.
    ///
    /// # Errors
    /// [`CliError::Usage`] naming the flags that are missing; [`CliError::ModelFile`] where
    /// nothing is named and not found, and real models are or were somewhere.
    pub(super) fn resolve(
        args: SourceArgs,
        loras: LoraConfig,
        environment: Environment<'_>,
        notices: &mut Vec<String>,
    ) -> Result<Self, CliError> {
        let mut sources = Self {
            models: args.models,
            checkpoint: args.checkpoint,
            transformer: args.transformer,
            text_encoder: args.text_encoder,
            vae: args.vae,
            tokenizer: args.tokenizer,
            loras,
            demo_asked: args.demo,
        };
        if args.demo {
            return Ok(sources);
        }
        if sources.models.is_none() {
            sources.models = environment.models_variable();
        }
        if sources.missing().next().is_some() {
            sources.look_around(environment, notices)?;
        }
        sources.check_complete()?;
        if !sources.is_demo() && sources.tokenizer.is_none() {
            sources.tokenizer = environment.get("QWEN_IMAGE_TOKENIZER").map(PathBuf::from);
        }
        Ok(sources)
    }

    /// Takes the models of a usual place for those that are not named. The demo model is only for
    /// who has no others.
    fn look_around(
        &mut self,
        environment: Environment<'_>,
        notices: &mut Vec<String>,
    ) -> Result<(), CliError> {
        let found = UsualPlaces::look(environment);
        if let UsualPlaces::Models(folder) = found {
            notices.push(format!(
                "using the models in {} (--models names others, --demo the built-in demo model)",
                folder.display()
            ));
            self.models = Some(folder);
            return Ok(());
        }
        if !self.is_demo() {
            return Ok(());
        }
        let refused = |what: String| {
            Err(CliError::ModelFile(format!(
                "{what}; --demo draws with the built-in demo model"
            )))
        };
        match found {
            UsualPlaces::Unfinished(folder) => refused(format!(
                "the download to {} is not finished: `qwen-image download` goes on with it",
                folder.display()
            )),
            UsualPlaces::InPart(repository) => refused(format!(
                "no models are named, and {} holds a part of some: `qwen-image download` fetches \
                 what is missing, --models DIR names a folder",
                repository.display()
            )),
            UsualPlaces::Elsewhere(place) => refused(format!(
                "no models are named, and those in {} were used before: name a folder by --models \
                 DIR or in QWEN_IMAGE_MODELS",
                place.display()
            )),
            UsualPlaces::Models(_) | UsualPlaces::Empty => {
                notices.push(crate::demo::NOTICE.to_owned());
                Ok(())
            }
        }
    }

    /// Whether nothing is named, so that the built-in demo model is used.
    pub(crate) fn is_demo(&self) -> bool {
        let Self {
            models,
            checkpoint,
            transformer,
            text_encoder,
            vae,
            tokenizer,
            loras: _,
            demo_asked: _,
        } = self;
        [
            models,
            checkpoint,
            transformer,
            text_encoder,
            vae,
            tokenizer,
        ]
        .iter()
        .all(|path| path.is_none())
    }

    /// The flags of models that neither have their own nor are in a folder.
    fn missing(&self) -> impl Iterator<Item = &'static str> {
        let parts = [
            ("--transformer", &self.transformer),
            ("--text-encoder", &self.text_encoder),
            ("--vae", &self.vae),
        ];
        // What a checkpoint holds is seen when it is opened.
        let in_folder = self.models.is_some() || self.checkpoint.is_some();
        parts
            .into_iter()
            .filter_map(move |(flag, path)| (path.is_none() && !in_folder).then_some(flag))
    }

    /// Without a folder, every model or none must have its own flag.
    fn check_complete(&self) -> Result<(), CliError> {
        if self.is_demo() {
            return Ok(());
        }
        let missing: Vec<&str> = self.missing().collect();
        match missing.as_slice() {
            [] => Ok(()),
            [_, _, _] => Err(CliError::Usage(
                "--tokenizer alone names no models: name a ComfyUI `models` tree or a diffusers \
                 folder with --models DIR or in QWEN_IMAGE_MODELS"
                    .to_owned(),
            )),
            [one] => Err(CliError::Usage(format!(
                "{one} is missing: give it, or a folder with --models DIR"
            ))),
            some => Err(CliError::Usage(format!(
                "{} are missing: give them, or a folder with --models DIR",
                some.join(" and ")
            ))),
        }
    }
}
