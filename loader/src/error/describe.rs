//! Parts of messages that depend on what was found.

use crate::resemblance::Resemblance;
use crate::text::{Excerpt, listed};

/// How many keys or files an error names before it only counts.
pub(super) const LISTED: usize = 5;

/// Describes an unknown checkpoint.
pub(super) fn describe_unknown(resembles: Option<Resemblance>, keys: &[Excerpt]) -> String {
    let tensors = || format!("it has tensors such as {}", listed(keys, 2));
    resembles.map_or_else(tensors, |kind| kind.to_string())
}

/// Describes a folder of LoRAs.
pub(super) fn describe_loras(files: Option<&[Excerpt]>) -> String {
    match files {
        None => "is not there".to_owned(),
        Some([]) => "holds no LoRA".to_owned(),
        Some(files) => format!("holds {}", listed(files, LISTED)),
    }
}

/// Why there is not the one Lightning LoRA.
pub(super) fn describe_lightning(steps: usize, files: &[Excerpt]) -> String {
    match files.len() {
        0 => format!("holds no Lightning LoRA for {steps} steps"),
        count => {
            let files = listed(files, LISTED);
            format!("{count} files are Lightning LoRAs for {steps} steps ({files})")
        }
    }
}
