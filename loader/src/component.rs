//! Which of the three models a checkpoint is.

use std::fmt;

use serde::Serialize;

use crate::checkpoint::Checkpoint;
use crate::error::LoadError;
use crate::lora::looks_like_a_lora;
use crate::text::Excerpt;

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

/// What a checkpoint looks like that is none of the components.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Resemblance {
    /// A file without tensors.
    Empty,
    /// A LoRA, of this model or of another.
    Lora,
    /// A model of the Flux family.
    Flux,
    /// A model of the Stable Diffusion family.
    StableDiffusion,
    /// A language model other than Qwen2.5-VL.
    LanguageModel,
}

impl fmt::Display for Resemblance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "it holds no tensors",
            Self::Lora => "it looks like a LoRA",
            Self::Flux => "it looks like a Flux model",
            Self::StableDiffusion => "it looks like a model of the Stable Diffusion family",
            Self::LanguageModel => "it looks like another language model; Qwen2.5-VL 7B is needed",
        })
    }
}

/// Prefixes that programs put before the transformer's keys, the longest first
/// (ComfyUI: `comfy/model_detection.py`, `unet_prefix_from_state_dict`).
const TRANSFORMER_PREFIXES: [&str; 7] = [
    "model.diffusion_model.",
    "diffusion_model.",
    "model.model.",
    "transformer.",
    "net.",
    "model.",
    "",
];

/// Prefixes that programs put before the VAE's keys.
const VAE_PREFIXES: [&str; 3] = ["vae.", "first_stage_model.", ""];

/// Keys that only this transformer has. A second one of each model tells what a file is that lacks
/// the first.
const TRANSFORMER_KEYS: [&str; 2] = ["txt_norm.weight", "transformer_blocks.0.img_mod.1.weight"];

/// Keys of which two are in every text encoder, after the prefixes of its
/// [language model](LANGUAGE) and of the file.
const TEXT_ENCODER_KEYS: [&str; 2] = [
    "layers.0.self_attn.k_proj.bias",
    "layers.0.self_attn.q_proj.bias",
];

/// What stands before the keys of the language model in a vision-language model, the longest first:
/// later versions of transformers put both halves of the model under `model.`, and some programs
/// save the language model by itself.
pub(crate) const LANGUAGE: [&str; 5] = [
    "model.language_model.",
    "language_model.model.",
    "language_model.",
    "model.",
    "",
];

/// Keys of which two are in every VAE: diffusers names, Wan names. Other VAEs have no `gamma`.
const VAE_KEYS: [&str; 4] = [
    "decoder.mid_block.resnets.0.norm1.gamma",
    "decoder.mid_block.resnets.0.norm2.gamma",
    "decoder.middle.0.residual.0.gamma",
    "decoder.middle.0.residual.3.gamma",
];

impl Component {
    /// All components in the order in which they run.
    pub const ALL: [Self; 3] = [Self::TextEncoder, Self::Transformer, Self::Vae];

    /// The prefix before this component's keys in a checkpoint, or `None` if it is another's.
    pub(crate) fn prefix_in(self, checkpoint: &Checkpoint) -> Option<String> {
        let before = |prefixes: &[&'static str], keys: &[&str]| {
            let has = |prefix: &str| {
                let mut keys = keys.iter();
                keys.any(|key| checkpoint.find(&format!("{prefix}{key}")).is_some())
            };
            let mut prefixes = prefixes.iter();
            prefixes
                .find(|prefix| has(prefix))
                .map(|&prefix| prefix.to_owned())
        };
        match self {
            Self::Transformer => before(&TRANSFORMER_PREFIXES, &TRANSFORMER_KEYS),
            Self::TextEncoder => checkpoint
                .entries()
                .iter()
                .find_map(|entry| before_language_model(&entry.tensor.key)),
            Self::Vae => before(&VAE_PREFIXES, &VAE_KEYS),
        }
    }
}

/// What a file has before the names of a text encoder, by one of [its keys](TEXT_ENCODER_KEYS).
fn before_language_model(key: &str) -> Option<String> {
    let mut keys = TEXT_ENCODER_KEYS.iter();
    let before = keys.find_map(|known| key.strip_suffix(known))?;
    let mut language = LANGUAGE.iter();
    language.find_map(|language| {
        let prefix = before.strip_suffix(language)?;
        // Other text encoders beside it, such as CLIP's, have layers of these names further down.
        let parts: Vec<&str> = prefix.split_terminator('.').collect();
        let known = matches!(
            parts.as_slice(),
            [] | ["text_encoder"]
                | ["text_encoders" | "cond_stage_model", _]
                | ["text_encoders" | "cond_stage_model", _, "transformer"]
        );
        known.then(|| prefix.to_owned())
    })
}

/// The components that a checkpoint holds, in the order in which they run, each with what stands
/// before its keys.
pub(crate) fn parts(checkpoint: &Checkpoint) -> Vec<(Component, String)> {
    let all = Component::ALL.into_iter();
    all.filter_map(|component| Some((component, component.prefix_in(checkpoint)?)))
        .collect()
}

/// The components that a checkpoint holds, in the order in which they run: several in a file of
/// all models in one.
pub fn components(checkpoint: &Checkpoint) -> Vec<Component> {
    let parts = parts(checkpoint);
    parts.into_iter().map(|(component, _)| component).collect()
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

/// Finds out which model a checkpoint is, from the keys that only that model has.
///
/// # Errors
/// [`LoadError::UnknownComponent`] if it is none, [`LoadError::SeveralComponents`] if it is more
/// than one.
pub fn detect(checkpoint: &Checkpoint) -> Result<Component, LoadError> {
    match components(checkpoint).as_slice() {
        [] => Err(unknown(checkpoint)),
        [only] => Ok(*only),
        &[first, second, ..] => Err(LoadError::SeveralComponents {
            file: checkpoint.source().into(),
            first,
            second,
        }),
    }
}

/// The error for a checkpoint that is none of the components.
pub(crate) fn unknown(checkpoint: &Checkpoint) -> LoadError {
    let keys = checkpoint.entries().iter().map(|entry| &entry.tensor.key);
    LoadError::UnknownComponent {
        file: checkpoint.source().into(),
        resembles: resemblance(checkpoint),
        keys: keys.take(2).map(Excerpt::from).collect(),
    }
}

/// A key as it would be without the checkpoint's prefix. Keys about the whole file often have none.
pub(crate) fn without_prefix<'a>(key: &'a str, prefix: &str) -> &'a str {
    key.strip_prefix(prefix).unwrap_or(key)
}

/// Guesses what an unknown checkpoint is from its keys.
fn resemblance(checkpoint: &Checkpoint) -> Option<Resemblance> {
    let any = |part: &str| {
        let mut entries = checkpoint.entries().iter();
        entries.any(|entry| entry.tensor.key.contains(part))
    };
    if checkpoint.entries().is_empty() {
        Some(Resemblance::Empty)
    } else if looks_like_a_lora(checkpoint) {
        Some(Resemblance::Lora)
    } else if any("double_blocks.") || any("single_transformer_blocks.") {
        Some(Resemblance::Flux)
    } else if any("input_blocks.") || any("down_blocks.") {
        Some(Resemblance::StableDiffusion)
    } else if any("self_attn.q_proj.weight") {
        Some(Resemblance::LanguageModel)
    } else {
        None
    }
}
