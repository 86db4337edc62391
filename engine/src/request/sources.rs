//! The places of the model files.

use std::path::PathBuf;

use super::lora::LoraConfig;

/// The places of the model files. Without any of them the built-in demo model is meant.
#[derive(Debug, Clone, Default)]
pub struct ModelSources {
    /// A ComfyUI `models` tree or a diffusers folder.
    pub models: Option<PathBuf>,
    /// A file of several models in one: each that it holds is taken from it instead of `models`.
    pub checkpoint: Option<PathBuf>,
    /// The transformer, instead of those above.
    pub transformer: Option<PathBuf>,
    /// The text encoder, instead of those above.
    pub text_encoder: Option<PathBuf>,
    /// The VAE, instead of those above.
    pub vae: Option<PathBuf>,
    /// The tokenizer: its file, or the folder of its files.
    pub tokenizer: Option<PathBuf>,
    /// The LoRAs beside the transformer's weights.
    pub loras: LoraConfig,
    /// True if the demo model was asked for, and is not a fallback.
    pub demo_asked: bool,
}

impl ModelSources {
    /// Names a ComfyUI `models` tree or a diffusers folder.
    pub fn folder(models: impl Into<PathBuf>) -> Self {
        Self {
            models: Some(models.into()),
            ..Self::default()
        }
    }

    /// Names the built-in demo model.
    pub fn demo() -> Self {
        Self {
            demo_asked: true,
            ..Self::default()
        }
    }

    /// Tells whether nothing is named, so that the built-in demo model is used.
    pub fn is_demo(&self) -> bool {
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
}
