//! Facts that a user should know about a LoRA that can be used.

use std::fmt;

use super::error::SettingsPlace;
use crate::text::Excerpt;

/// Something that may surprise; the LoRA's name is told by whoever shows it.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum LoraNote {
    /// Parts for the text encoder, which are left out.
    TextEncoder {
        /// How many tensors.
        tensors: usize,
    },
    /// It is scaled as the `adapter_config.json` beside it says.
    Config {
        /// The smallest and the largest scale.
        scale: [f64; 2],
    },
    /// The `adapter_config.json` beside it is not followed.
    ConfigUnused {
        /// Why.
        reason: ConfigUnused,
    },
    /// Its settings tell another rank than its matrices have.
    Rank {
        /// The place of the settings.
        place: SettingsPlace,
        /// A layer.
        layer: Excerpt,
        /// The layer's rank by the settings.
        told: f64,
        /// The layer's rank by its matrices.
        found: usize,
    },
}

/// Why an `adapter_config.json` is not followed.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum ConfigUnused {
    /// The LoRA's header has settings, which scale it otherwise.
    Header,
    /// Its ranks are another LoRA's.
    Ranks,
    /// The folder has PEFT's own file, which it belongs to.
    AnotherFile,
    /// It cannot be read.
    Unreadable {
        /// The fault.
        message: Excerpt,
    },
}

impl fmt::Display for LoraNote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TextEncoder { tensors } => {
                let (noun, verb) = match tensors {
                    1 => ("tensor", "is"),
                    _ => ("tensors", "are"),
                };
                write!(
                    f,
                    "{tensors} {noun} for the text encoder {verb} left out: LoRAs change the \
                     transformer alone"
                )
            }
            Self::Config {
                scale: [least, most],
            } => {
                write!(f, "it is scaled by {least}")?;
                if least != most {
                    write!(f, " to {most}")?;
                }
                write!(f, ", as adapter_config.json beside it says")
            }
            Self::ConfigUnused { reason } => {
                write!(f, "adapter_config.json beside it is not used: {reason}")
            }
            Self::Rank {
                place,
                layer,
                told,
                found,
            } => write!(
                f,
                "{place} gives rank {told} to {layer}, whose matrices have rank {found}; alphas \
                 are divided by the latter"
            ),
        }
    }
}

impl fmt::Display for ConfigUnused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Header => f.write_str("the settings in the LoRA's header say otherwise"),
            Self::Ranks => f.write_str("its ranks are not the LoRA's"),
            Self::AnotherFile => f.write_str("it belongs to adapter_model.safetensors"),
            Self::Unreadable { message } => write!(f, "{message}"),
        }
    }
}
