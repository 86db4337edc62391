//! The models of the pipeline, and the modules that are loaded.

use std::fmt;

use serde::Serialize;

/// A model of the pipeline.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Component {
    /// The diffusion transformer.
    Transformer,
    /// The Qwen2.5-VL text encoder.
    TextEncoder,
    /// The image autoencoder.
    Vae,
}

impl Component {
    /// All components in the order in which they run.
    pub const ALL: [Self; 3] = [Self::TextEncoder, Self::Transformer, Self::Vae];
}

impl fmt::Display for Component {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Transformer => "transformer",
            Self::TextEncoder => "text encoder",
            Self::Vae => "VAE",
        })
    }
}

/// A module that is loaded by itself: a whole model, or half of the VAE.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ModelPart {
    /// The text encoder's language model.
    LanguageModel,
    /// The diffusion transformer.
    Transformer,
    /// The half of the VAE from latents to pixels.
    VaeDecoder,
    /// The half of the VAE from pixels to latents.
    VaeEncoder,
}

impl ModelPart {
    /// The model that it is a part of.
    pub fn component(self) -> Component {
        match self {
            Self::LanguageModel => Component::TextEncoder,
            Self::Transformer => Component::Transformer,
            Self::VaeDecoder | Self::VaeEncoder => Component::Vae,
        }
    }

    /// Its name in the line about a load.
    pub fn name(self) -> &'static str {
        match self {
            Self::LanguageModel => "the language model",
            Self::Transformer => "the transformer",
            Self::VaeDecoder => "the decoder",
            Self::VaeEncoder => "the encoder",
        }
    }
}

/// The part that every image needs.
impl From<Component> for ModelPart {
    fn from(component: Component) -> Self {
        match component {
            Component::TextEncoder => Self::LanguageModel,
            Component::Transformer => Self::Transformer,
            Component::Vae => Self::VaeDecoder,
        }
    }
}
