//! Remedies: what would make a phase fit.

use std::fmt;

use loader::Component;
use serde::Serialize;

use crate::bytes::{format_bytes, limit_for};

/// A thing that would make phases fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(tag = "remedy", rename_all = "snake_case")]
pub enum Remedy {
    /// Blocks that do not fit are read anew in each step.
    Stream,
    /// The text encoder on the processor.
    TextEncoderOnCpu,
    /// A checkpoint in FP8, which takes so many bytes.
    Fp8Checkpoint {
        /// The weights in memory.
        weight_bytes: u64,
        /// The model.
        #[serde(skip)]
        model: Component,
        /// The weights in memory of the checkpoint that there is.
        #[serde(skip)]
        instead_of: u64,
    },
    /// Such a checkpoint and a smaller image as well.
    Fp8CheckpointAndSize {
        /// The checkpoint's weights in memory.
        weight_bytes: u64,
        /// The model.
        #[serde(skip)]
        model: Component,
        /// The weights in memory of the checkpoint that there is.
        #[serde(skip)]
        instead_of: u64,
        /// Pixels across.
        width: u32,
        /// Pixels down.
        height: u32,
        /// The kind of sizes of which this is the largest.
        #[serde(skip)]
        shape: Shape,
    },
    /// The VAE in tiles.
    VaeTiling,
    /// A smaller image.
    Size {
        /// Pixels across.
        width: u32,
        /// Pixels down.
        height: u32,
        /// The kind of sizes of which this is the largest.
        #[serde(skip)]
        shape: Shape,
    },
    /// A larger limit.
    Limit {
        /// At least this.
        bytes: u64,
    },
    /// Other programs leave the device.
    FreeDevice {
        /// The bytes that they hold.
        bytes: u64,
    },
}

/// A kind of image sizes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Shape {
    /// Squares.
    #[default]
    Square,
    /// About the shape that is asked for.
    Same,
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Square => "square",
            Self::Same => "of about the same shape",
        })
    }
}

impl fmt::Display for Remedy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stream => f.write_str("stream the blocks that do not fit"),
            Self::TextEncoderOnCpu => f.write_str("run the text encoder on the processor"),
            Self::Fp8Checkpoint {
                weight_bytes,
                model,
                instead_of,
            } => write!(
                f,
                "take an FP8 file of the {model}, whose weights are {} instead of {}",
                format_bytes(*weight_bytes),
                format_bytes(*instead_of)
            ),
            Self::Fp8CheckpointAndSize {
                weight_bytes,
                model,
                instead_of,
                width,
                height,
                shape,
            } => {
                let (weight_bytes, model, instead_of) = (*weight_bytes, *model, *instead_of);
                let file = Self::Fp8Checkpoint {
                    weight_bytes,
                    model,
                    instead_of,
                };
                let (width, height, shape) = (*width, *height, *shape);
                let size = Self::Size {
                    width,
                    height,
                    shape,
                };
                write!(f, "{file}, and {size}")
            }
            Self::VaeTiling => f.write_str("let the VAE work in tiles"),
            Self::Size {
                width,
                height,
                shape,
            } => write!(
                f,
                "make the image smaller: {width}x{height} is the largest {shape} that fits"
            ),
            Self::Limit { bytes } => {
                write!(f, "raise the limit: {} is enough", limit_for(*bytes).0)
            }
            Self::FreeDevice { bytes } => write!(
                f,
                "close the programs that hold {} of the device's memory",
                format_bytes(*bytes)
            ),
        }
    }
}

/// Writes remedies one after the other, or which device it takes where there is none.
pub fn remedies_in_words(remedies: &[Remedy], peak: u64) -> String {
    if remedies.is_empty() {
        return format!("it takes a device with {} free", format_bytes(peak));
    }
    let words: Vec<String> = remedies.iter().map(Remedy::to_string).collect();
    words.join("; or ")
}
