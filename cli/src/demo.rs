//! The demo model: a tiny Qwen-Image that is part of the program, so that the first command
//! draws something. To everything else it is a ComfyUI `models` tree like any other.

use std::fs;
use std::path::Path;

use tempfile::TempDir;

use crate::error::CliError;

/// Its files, by their paths in the tree.
const FILES: [(&str, &[u8]); 6] = [
    (
        "diffusion_models/qwen_image_demo_fp8_e4m3fn.safetensors",
        include_bytes!("../../demo/models/diffusion_models/qwen_image_demo_fp8_e4m3fn.safetensors"),
    ),
    (
        "text_encoders/qwen_2.5_vl_demo_fp8_scaled.safetensors",
        include_bytes!("../../demo/models/text_encoders/qwen_2.5_vl_demo_fp8_scaled.safetensors"),
    ),
    (
        "vae/qwen_image_demo_vae.safetensors",
        include_bytes!("../../demo/models/vae/qwen_image_demo_vae.safetensors"),
    ),
    (
        "tokenizer/vocab.json",
        include_bytes!("../../demo/models/tokenizer/vocab.json"),
    ),
    (
        "tokenizer/merges.txt",
        include_bytes!("../../demo/models/tokenizer/merges.txt"),
    ),
    (
        "tokenizer/tokenizer_config.json",
        include_bytes!("../../demo/models/tokenizer/tokenizer_config.json"),
    ),
];

/// The tokenizer's files, by their names.
pub(crate) fn tokenizer() -> impl Iterator<Item = (&'static str, &'static [u8])> {
    let name = |(path, bytes): (&'static str, _)| Some((path.strip_prefix("tokenizer/")?, bytes));
    FILES.into_iter().filter_map(name)
}

/// What the user is told when it is used.
pub(crate) const NOTICE: &str = "no models given: drawing with the built-in demo model, which \
    knows simple shapes and scenes; `qwen-image download` fetches the real one";

/// Writes the tree to a temporary folder, which lives as long as the returned value.
///
/// # Errors
/// [`CliError::Output`] if there is no room for 12 MB.
pub(crate) fn unpack() -> Result<TempDir, CliError> {
    let folder = TempDir::with_prefix("qwen-image-demo-")
        .map_err(|error| failed(&std::env::temp_dir(), &error))?;
    for (name, bytes) in FILES {
        let path = folder.path().join(name);
        let parent = path.parent().unwrap_or(folder.path());
        fs::create_dir_all(parent)
            .and_then(|()| fs::write(&path, bytes))
            .map_err(|error| failed(&path, &error))?;
    }
    Ok(folder)
}

fn failed(path: &Path, error: &std::io::Error) -> CliError {
    CliError::Output {
        path: path.to_owned(),
        reason: error.to_string(),
    }
}
