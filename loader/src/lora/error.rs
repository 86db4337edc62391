//! Faults of LoRA files.

use std::fmt;

use crate::text::{Excerpt, listed};

/// How many keys or layers an error names before it only counts.
const LISTED: usize = 3;

/// A way to change a model that is not a plain low-rank product.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum AdapterMethod {
    /// Weight-decomposed adapters.
    Dora,
    /// Hadamard products of low-rank products.
    Loha,
    /// Kronecker products.
    Lokr,
    /// Orthogonal transformations.
    Oft,
    /// Tucker decompositions.
    Tucker,
    /// Differences of whole tensors.
    Difference,
    /// Biases beside the low-rank products.
    Bias,
}

impl fmt::Display for AdapterMethod {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Dora => "DoRA",
            Self::Loha => "LoHa",
            Self::Lokr => "LoKr",
            Self::Oft => "OFT",
            Self::Tucker => "a Tucker decomposition",
            Self::Difference => "whole differences of weights",
            Self::Bias => "biases",
        })
    }
}

/// The place of PEFT's settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SettingsPlace {
    /// In the header of a file that diffusers saved.
    Header,
    /// In the file that PEFT puts beside its own.
    Config,
}

impl fmt::Display for SettingsPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Header => "lora_adapter_metadata in its header",
            Self::Config => "adapter_config.json beside it",
        })
    }
}

/// A LoRA that cannot be used; [`LoadError::Lora`](crate::LoadError::Lora) adds the file's name.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum LoraError {
    /// No tensor of it is a LoRA's.
    #[error("is not a LoRA: it has tensors such as {}", listed(keys, 2))]
    NotALora {
        /// Its keys.
        keys: Vec<Excerpt>,
    },
    /// It holds no tensors.
    #[error("is not a LoRA: it holds no tensors")]
    Empty,
    /// It is about the text encoder alone.
    #[error(
        "has {} for the text encoder, to which LoRAs are not applied ({}), and none for the \
         transformer",
        count(keys, "tensor"),
        listed(keys, LISTED)
    )]
    TextEncoder {
        /// The keys.
        keys: Vec<Excerpt>,
    },
    /// Another method than plain LoRA.
    #[error(
        "has {} of {method}, which is not supported ({}): use a plain LoRA",
        count(keys, "tensor"),
        listed(keys, LISTED)
    )]
    Unsupported {
        /// The method.
        method: AdapterMethod,
        /// The keys.
        keys: Vec<Excerpt>,
    },
    /// Keys that name no layer of the transformer, or nothing about it that is known.
    #[error(
        "has {} of {total} for no linear layer of a Qwen-Image transformer: {}",
        count(keys, "tensor"),
        listed(keys, LISTED)
    )]
    UnknownKeys {
        /// The keys.
        keys: Vec<Excerpt>,
        /// How many tensors it has.
        total: usize,
    },
    /// Several of PEFT's adapters in one file.
    #[error(
        "holds {} adapters ({}): use a file with one of them",
        adapters.len(),
        listed(adapters, LISTED)
    )]
    SeveralAdapters {
        /// Their names.
        adapters: Vec<Excerpt>,
    },
    /// Layers of which a matrix is missing.
    #[error(
        "has {} without one of the two matrices ({}): the file is not complete",
        count(layers, "layer"),
        listed(layers, LISTED)
    )]
    Unpaired {
        /// The layers.
        layers: Vec<Excerpt>,
    },
    /// Matrices that are none, or whose ranks differ.
    #[error(
        "has {} whose matrices cannot be multiplied: {}",
        count(layers, "layer"),
        listed(layers, LISTED)
    )]
    Shapes {
        /// The layers and their matrices.
        layers: Vec<UnmatchedMatrices>,
    },
    /// An alpha that is no finite number.
    #[error("tensor `{key}` is no number to scale by: {reason}")]
    Alpha {
        /// The tensor.
        key: Excerpt,
        /// The fault.
        reason: String,
    },
    /// A matrix with NaN or infinity in it.
    #[error("tensor `{key}` has values that are not finite (NaN or infinity): the file is damaged")]
    NotFinite {
        /// The tensor.
        key: Excerpt,
    },
    /// Two matrices whose product, with its scale, no f32 holds.
    #[error(
        "tensors `{up}` and `{down}`, scaled by {scale}, give weights beyond any number format: \
         the file is damaged, or its weight too large"
    )]
    TooLarge {
        /// The matrix that comes first.
        down: Excerpt,
        /// The other.
        up: Excerpt,
        /// The scale by alpha, rank and the LoRA's weight.
        scale: f64,
    },
    /// Settings about its scale that cannot be read.
    #[error("{place} cannot be read: {message}")]
    Settings {
        /// The place of the settings.
        place: SettingsPlace,
        /// The fault.
        message: Excerpt,
    },
    /// Settings of another method than plain LoRA.
    #[error("{place} says {setting}, which is not supported: use a plain LoRA")]
    Setting {
        /// The place of the settings.
        place: SettingsPlace,
        /// The setting.
        setting: Excerpt,
    },
    /// A layer's pattern that cannot be followed as Python would.
    #[error("{place} has the {table} `{key}`: {reason}, so that its layers cannot be told")]
    Pattern {
        /// The place of the settings.
        place: SettingsPlace,
        /// Which setting.
        table: &'static str,
        /// The pattern.
        key: Excerpt,
        /// Why it cannot be followed.
        reason: String,
    },
    /// PEFT's settings for another rank than that of the matrices.
    #[error(
        "adapter_config.json beside it gives rank {told} to {layer}, whose matrices have rank \
         {found}: it belongs to another LoRA; put the right one there, or none"
    )]
    OtherRank {
        /// A layer.
        layer: Excerpt,
        /// Its rank by the settings.
        told: f64,
        /// Its rank by the matrices.
        found: usize,
    },
    /// Layers that this transformer does not have.
    #[error(
        "has {} that the transformer {transformer} does not have ({}): it is for a larger model",
        count(layers, "layer"),
        listed(layers, LISTED)
    )]
    NotInModel {
        /// The transformer's file.
        transformer: Excerpt,
        /// The layers.
        layers: Vec<Excerpt>,
    },
    /// Layers of another width than this transformer's.
    #[error(
        "has {} of another size than in the transformer {transformer} ({}): it is for another \
         model",
        count(layers, "layer"),
        listed(layers, LISTED)
    )]
    OtherModel {
        /// The transformer's file.
        transformer: Excerpt,
        /// The layers.
        layers: Vec<OtherSize>,
    },
}

/// Two matrices that do not belong together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnmatchedMatrices {
    /// The layer.
    pub layer: Excerpt,
    /// The shape of the matrix that comes first.
    pub down: Vec<usize>,
    /// The shape of the other.
    pub up: Vec<usize>,
}

impl fmt::Display for UnmatchedMatrices {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {:?} and {:?}", self.layer, self.up, self.down)
    }
}

/// A layer of another size than the model's; sizes are outputs and inputs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OtherSize {
    /// The layer.
    pub layer: Excerpt,
    /// The size that the LoRA is for.
    pub found: [usize; 2],
    /// The shape of the model's weight.
    pub expected: Vec<usize>,
}

impl fmt::Display for OtherSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} is {:?} instead of {:?}",
            self.layer, self.found, self.expected
        )
    }
}

/// A count with its noun, such as `1 layer` or `3 layers`.
fn count<T>(items: &[T], what: &str) -> String {
    match items.len() {
        1 => format!("1 {what}"),
        count => format!("{count} {what}s"),
    }
}
