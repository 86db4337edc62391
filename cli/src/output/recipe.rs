//! The recipe of a picture: everything needed to make it again.

use serde::{Deserialize, Serialize};

use crate::input::Stamp;

/// How a picture is made. Equal recipes give equal pictures on the same device.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Recipe {
    /// The prompt.
    pub(crate) prompt: String,
    /// The negative prompt; none where there is no guidance.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) negative_prompt: Option<String>,
    /// Pixels across.
    pub(crate) width: u32,
    /// Pixels down.
    pub(crate) height: u32,
    /// Denoising steps.
    pub(crate) steps: usize,
    /// Guidance scale; 1 without guidance.
    pub(crate) cfg_scale: f64,
    /// Seed of the noise; none where the noise came from a file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) seed: Option<u64>,
    /// Name of the file that the noise came from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) noise: Option<String>,
    /// The picture that it starts from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) init_image: Option<Stamp>,
    /// The mask of what is repainted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) mask: Option<Stamp>,
    /// How much of the picture is changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) strength: Option<f64>,
    /// Name of the transformer's file without its extension.
    pub(crate) model: String,
    /// The LoRAs, in the order in which they were named.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) loras: Vec<UsedLora>,
    /// The steps of the Lightning LoRA, if there is one among them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) lightning: Option<usize>,
}

/// A LoRA beside the transformer's weights.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct UsedLora {
    /// Its file's name.
    pub(crate) file: String,
    /// What it was multiplied by.
    pub(crate) weight: f64,
}
