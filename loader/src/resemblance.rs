//! Guesses about checkpoints that hold none of the models.

use std::fmt;

use crate::checkpoint::Checkpoint;
use crate::error::LoadError;
use crate::lora::keys::looks_like_a_lora;
use crate::text::Excerpt;

/// The kind of file that a checkpoint looks like which is none of the components.
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

/// The error for a checkpoint that is none of the components.
pub(crate) fn unknown(checkpoint: &Checkpoint) -> LoadError {
    let keys = checkpoint.entries().iter().map(|entry| &entry.tensor.key);
    LoadError::UnknownComponent {
        file: checkpoint.source().into(),
        resembles: resemblance(checkpoint),
        keys: keys.take(2).map(Excerpt::from).collect(),
    }
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
