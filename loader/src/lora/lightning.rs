//! The Lightning LoRAs, by their names: `Qwen-Image-Lightning-4steps-V1.0-bf16.safetensors`,
//! `Qwen-Image-Lightning-8steps-V2.0.safetensors` and the like.

use std::path::{Path, PathBuf};

use super::folder::{Fit, below, fit, folder, is_lora_file, shown_below};
use crate::error::LoadError;
use crate::weights::Weights;

/// For how many steps a Lightning LoRA was distilled, by the file's name; `None` for any other
/// LoRA.
pub fn lightning_steps(path: &Path) -> Option<usize> {
    let name = path.file_name().unwrap_or_default();
    steps_in_name(&name.to_string_lossy())
}

/// The same of a name.
pub(super) fn steps_in_name(name: &str) -> Option<usize> {
    let name = name.to_lowercase();
    if !name.contains("lightning") {
        return None;
    }
    name.match_indices("step").find_map(|(at, _)| {
        let before = name[..at].trim_end_matches(['-', '_', ' ']);
        let digits = before.trim_end_matches(|c: char| c.is_ascii_digit());
        before[digits.len()..].parse().ok()
    })
}

/// Finds the Lightning LoRA for so many steps in the `loras` folder of a models folder. Those for
/// image editing are not meant, nor are those of other models, as Wan's.
///
/// # Errors
/// [`LoadError::Lightning`] if there is none, or more than one; a damaged file, if it is the only
/// one; a folder that cannot be read.
pub fn find_lightning(
    dir: &Path,
    steps: usize,
    transformer: &Weights,
) -> Result<PathBuf, LoadError> {
    let folder = folder(dir);
    let is_wanted = |path: &Path| {
        let edits = path.file_name().is_some_and(|name| {
            let name = name.to_string_lossy().to_lowercase();
            name.contains("edit")
        });
        is_lora_file(path) && lightning_steps(path) == Some(steps) && !edits
    };
    let mut fitting = Vec::new();
    let mut damaged = None;
    for path in below(&folder, &is_wanted)? {
        match fit(&path, transformer) {
            Fit::Fits => fitting.push(path),
            Fit::AnotherModels => {}
            Fit::Damaged(error) => damaged = Some(error),
        }
    }
    match (fitting.as_slice(), damaged) {
        ([only], _) => Ok(only.clone()),
        ([], Some(error)) => Err(error),
        _ => Err(LoadError::Lightning {
            files: shown_below(&folder, &fitting),
            dir: folder,
            steps,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_say_for_how_many_steps() {
        for (name, expected) in [
            ("Qwen-Image-Lightning-4steps-V1.0.safetensors", Some(4)),
            ("Qwen-Image-Lightning-4steps-V2.0-bf16.safetensors", Some(4)),
            ("Qwen-Image-Lightning-8steps-V1.1.SAFETENSORS", Some(8)),
            ("qwen_image_2512_lightning_8-step.safetensors", Some(8)),
            ("Qwen-Image-Lightning 4 steps.safetensors", Some(4)),
            ("Qwen-Image-Edit-Lightning-4steps-V1.0.safetensors", Some(4)),
            ("Qwen-Image-Lightning-14steps.safetensors", Some(14)),
            ("step-300-Qwen-Image-Lightning-8steps.safetensors", Some(8)),
            ("Qwen-Image-Lightning.safetensors", None),
            ("Qwen-Image-Lightning-steps.safetensors", None),
            ("watercolour-4steps.safetensors", None),
        ] {
            assert_eq!(lightning_steps(Path::new(name)), expected, "{name}");
        }
    }
}
