//! Where the model files are, checked.

use std::path::PathBuf;

use super::environment::Environment;
use super::groups::SourceArgs;
use super::lora::LoraConfig;
use crate::error::CliError;

/// Where the model files are, from flags and environment.
#[derive(Debug, Clone)]
pub(crate) struct ModelSources {
    /// A ComfyUI tree or a diffusers folder.
    pub(crate) models: Option<PathBuf>,
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
}

impl ModelSources {
    /// The flags, completed by QWEN_IMAGE_MODELS and QWEN_IMAGE_TOKENIZER; adds a notice where
    /// the demo model takes their place.
    ///
    /// # Errors
    /// [`CliError::Usage`] naming the flags that are missing.
    pub(super) fn resolve(
        args: SourceArgs,
        loras: LoraConfig,
        environment: Environment<'_>,
        notices: &mut Vec<String>,
    ) -> Result<Self, CliError> {
        let variable = |name| environment.get(name).map(PathBuf::from);
        let mut sources = Self {
            models: args.models.or_else(|| variable("QWEN_IMAGE_MODELS")),
            transformer: args.transformer,
            text_encoder: args.text_encoder,
            vae: args.vae,
            tokenizer: args.tokenizer,
            loras,
        };
        sources.check_complete()?;
        if sources.is_demo() {
            notices.push(crate::demo::NOTICE.to_owned());
        } else if sources.tokenizer.is_none() {
            sources.tokenizer = variable("QWEN_IMAGE_TOKENIZER");
        }
        Ok(sources)
    }

    /// Whether nothing is named, so that the built-in demo model is used.
    pub(crate) fn is_demo(&self) -> bool {
        let Self {
            models,
            transformer,
            text_encoder,
            vae,
            tokenizer,
            loras: _,
        } = self;
        [models, transformer, text_encoder, vae, tokenizer]
            .iter()
            .all(|path| path.is_none())
    }

    /// Without a folder, every model or none must have its own flag.
    fn check_complete(&self) -> Result<(), CliError> {
        if self.models.is_some() || self.is_demo() {
            return Ok(());
        }
        let missing: Vec<&str> = [
            ("--transformer", &self.transformer),
            ("--text-encoder", &self.text_encoder),
            ("--vae", &self.vae),
        ]
        .into_iter()
        .filter_map(|(flag, path)| path.is_none().then_some(flag))
        .collect();
        match missing.as_slice() {
            [] => Ok(()),
            [_, _, _] => Err(CliError::Usage(
                "--tokenizer alone names no models: name a ComfyUI `models` tree or a diffusers \
                 folder with --models DIR or in QWEN_IMAGE_MODELS"
                    .to_owned(),
            )),
            some => Err(CliError::Usage(format!(
                "{} missing: give it, or a folder with --models DIR",
                some.join(" and ")
            ))),
        }
    }
}
