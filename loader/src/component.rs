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

/// Prefixes that programs put before the transformer's keys, the longest first
/// (ComfyUI: `comfy/model_detection.py`, `unet_prefix_from_state_dict`).
const TRANSFORMER_PREFIXES: [&str; 5] = [
    "model.diffusion_model.",
    "model.model.",
    "net.",
    "model.",
    "",
];

/// Keys that only this transformer has. A second one of each model tells what a file is that lacks
/// the first.
const TRANSFORMER_KEYS: [&str; 2] = ["txt_norm.weight", "transformer_blocks.0.img_mod.1.weight"];

/// Keys of which two are in every text encoder, in its names of old and of new.
const TEXT_ENCODER_KEYS: [&str; 4] = [
    "model.layers.0.self_attn.k_proj.bias",
    "model.layers.0.self_attn.q_proj.bias",
    "model.language_model.layers.0.self_attn.k_proj.bias",
    "model.language_model.layers.0.self_attn.q_proj.bias",
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

    /// The command-line flag that takes its checkpoint.
    pub fn flag(self) -> &'static str {
        match self {
            Self::Transformer => "--transformer",
            Self::TextEncoder => "--text-encoder",
            Self::Vae => "--vae",
        }
    }

    /// The prefix before this component's keys in a checkpoint, or `None` if it is another's.
    pub(crate) fn prefix_in(self, checkpoint: &Checkpoint) -> Option<&'static str> {
        let has = |key: &str| checkpoint.find(key).is_some();
        match self {
            Self::Transformer => TRANSFORMER_PREFIXES.into_iter().find(|prefix| {
                let mut keys = TRANSFORMER_KEYS.iter();
                keys.any(|key| has(&format!("{prefix}{key}")))
            }),
            Self::TextEncoder => TEXT_ENCODER_KEYS.into_iter().any(has).then_some(""),
            Self::Vae => VAE_KEYS.into_iter().any(has).then_some(""),
        }
    }
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
    let mut found = Component::ALL
        .into_iter()
        .filter(|component| component.prefix_in(checkpoint).is_some());
    let Some(first) = found.next() else {
        let keys = checkpoint.entries().iter().map(|entry| &entry.tensor.key);
        return Err(LoadError::UnknownComponent {
            file: checkpoint.source().into(),
            hint: hint(checkpoint),
            keys: keys.take(2).map(Excerpt::from).collect(),
        });
    };
    match found.next() {
        Some(second) => Err(LoadError::SeveralComponents {
            file: checkpoint.source().into(),
            first,
            second,
        }),
        None => Ok(first),
    }
}

/// A key as it would be without the checkpoint's prefix. Keys about the whole file often have none.
pub(crate) fn without_prefix<'a>(key: &'a str, prefix: &str) -> &'a str {
    key.strip_prefix(prefix).unwrap_or(key)
}

/// What an unknown checkpoint may be.
fn hint(checkpoint: &Checkpoint) -> Option<&'static str> {
    let any = |part: &str| {
        let mut entries = checkpoint.entries().iter();
        entries.any(|entry| entry.tensor.key.contains(part))
    };
    if checkpoint.entries().is_empty() {
        Some("it holds no tensors")
    } else if looks_like_a_lora(checkpoint) {
        Some("it looks like a LoRA, which goes with --lora")
    } else if any("double_blocks.") || any("single_transformer_blocks.") {
        Some("it looks like a Flux model")
    } else if any("input_blocks.") || any("down_blocks.") {
        Some("it looks like a model of the Stable Diffusion family")
    } else if any("self_attn.q_proj.weight") {
        Some("it looks like another language model; Qwen2.5-VL 7B is needed")
    } else {
        None
    }
}
