//! The recipe of a picture: everything needed to make it again.

use serde::{Deserialize, Serialize};

use crate::args::Sampling;

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
    /// `sampler`, `schedule` and `preset`.
    #[serde(flatten)]
    pub(crate) sampling: Sampling,
    /// Guidance scale; 1 without guidance.
    pub(crate) cfg_scale: f64,
    /// Seed of the noise; none where the noise came from a file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) seed: Option<u64>,
    /// Name of the file that the noise came from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) noise: Option<String>,
    /// Name of the transformer's file without its extension.
    pub(crate) model: String,
}
