//! LoRAs that are added beside the transformer's weights.

use std::path::PathBuf;

use super::lora_tag::LoraTag;
use crate::record::UsedLora;

/// The numbers of steps for which there are Lightning LoRAs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LightningSteps {
    /// Four steps.
    Four,
    /// Eight steps.
    Eight,
}

impl LightningSteps {
    /// The number.
    pub const fn steps(self) -> usize {
        match self {
            Self::Four => 4,
            Self::Eight => 8,
        }
    }
}

/// The LoRAs to use.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct LoraConfig {
    /// Paths, or names in the models folder's `loras`, and their weights.
    pub loras: Vec<(PathBuf, f64)>,
    /// The LoRAs of an image that is made again, where none are named.
    pub recorded: Option<RecordedLoras>,
    /// The LoRAs that the prompt of another program's image names, where none are named.
    pub named: Option<NamedLoras>,
    /// The steps of the Lightning LoRA that is wanted.
    pub lightning: Option<usize>,
}

/// The LoRAs that an image was made with.
#[derive(Debug, Clone, PartialEq)]
pub struct RecordedLoras {
    /// The image's file.
    pub image: PathBuf,
    /// The LoRAs by their files' names; at least one.
    pub loras: Vec<UsedLora>,
}

/// The LoRAs that a prompt of another program's names. They may be another model's.
#[derive(Debug, Clone, PartialEq)]
pub struct NamedLoras {
    /// The image's file.
    pub image: PathBuf,
    /// The tags in the prompt; at least one.
    pub tags: Vec<LoraTag>,
}
