//! The Lightning LoRAs, by their names: `Qwen-Image-Lightning-4steps-V1.0-bf16.safetensors`,
//! `Qwen-Image-Lightning-8steps-V2.0.safetensors` and the like.

use std::path::{Path, PathBuf};

use super::folder::{below, folder};
use crate::checkpoint::FILE_SUFFIX;
use crate::error::LoadError;
use crate::text::Excerpt;

/// Whether a file's name is that of a Lightning LoRA for so many steps. Those for image editing
/// are not meant.
pub fn is_lightning(path: &Path, steps: usize) -> bool {
    let name = path.file_name().unwrap_or_default();
    let name = name.to_string_lossy().to_lowercase();
    let for_steps = ["step", "-step", "_step"].iter().any(|word| {
        let number = format!("{steps}{word}");
        let mut found = name.match_indices(&number);
        found.any(|(at, _)| !name[..at].ends_with(|before: char| before.is_ascii_digit()))
    });
    name.contains("lightning") && for_steps && !name.contains("edit")
}

/// Finds the Lightning LoRA for so many steps in the `loras` folder of a models folder.
///
/// # Errors
/// [`LoadError::Lightning`] if there is none, or more than one; a folder that cannot be read.
pub fn find_lightning(dir: &Path, steps: usize) -> Result<PathBuf, LoadError> {
    let folder = folder(dir);
    let is_file = |path: &Path| {
        let name = path.to_string_lossy();
        name.ends_with(FILE_SUFFIX) && is_lightning(path, steps) && !path.is_dir()
    };
    let found = below(&folder, &is_file)?;
    if let [only] = found.as_slice() {
        return Ok(only.clone());
    }
    let files = found.iter().map(|path| {
        let shown = path.strip_prefix(&folder).unwrap_or(path);
        Excerpt::new(&shown.to_string_lossy())
    });
    Err(LoadError::Lightning {
        files: files.collect(),
        dir: folder,
        steps,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_say_for_how_many_steps() {
        let steps = |name: &str| {
            let steps = [4, 8].into_iter();
            let steps = steps.filter(|&steps| is_lightning(Path::new(name), steps));
            steps.collect::<Vec<_>>()
        };
        for (name, expected) in [
            ("Qwen-Image-Lightning-4steps-V1.0.safetensors", &[4][..]),
            ("Qwen-Image-Lightning-4steps-V2.0-bf16.safetensors", &[4]),
            ("Qwen-Image-Lightning-8steps-V1.1.safetensors", &[8]),
            ("qwen_image_2512_lightning_8-step.safetensors", &[8]),
            ("Qwen-Image-Edit-Lightning-4steps-V1.0.safetensors", &[]),
            ("Qwen-Image-Lightning-14steps.safetensors", &[]),
            ("Qwen-Image-Lightning.safetensors", &[]),
            ("watercolour-4steps.safetensors", &[]),
        ] {
            assert_eq!(steps(name), expected, "{name}");
        }
    }
}
