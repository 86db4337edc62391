//! A LoRA as a recipe has it.

use serde::{Deserialize, Serialize};

/// A LoRA beside the transformer's weights.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct UsedLora {
    /// Its file's name.
    pub file: String,
    /// The weight that it was multiplied by.
    pub weight: f64,
    /// Its file's length and the SHA-256 of its beginning, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stamp: Option<String>,
    /// A digest of all its contents; unknown in a recipe of an earlier version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
}

impl UsedLora {
    /// Tells whether a recorded file of this name is known to be another than this one.
    pub fn differs_from(&self, recorded: &Self) -> bool {
        let differ = |recorded: &Option<String>, here: &Option<String>| {
            recorded.is_some() && recorded != here
        };
        differ(&recorded.digest, &self.digest) || differ(&recorded.stamp, &self.stamp)
    }
}
