//! Finds the tokenizer, which single-file checkpoints do not carry.

use std::path::{Path, PathBuf};

use engine::request::ModelSources;
use model::{TextEncoderConfig, Tokenizer};

use crate::error::CliError;
use crate::models::Part;

/// The tokenizer's path: `--tokenizer` or QWEN_IMAGE_TOKENIZER, else what was found in the models
/// folder, else beside the text encoder.
///
/// # Errors
/// None is there: says which files are needed and where they come from.
pub(crate) fn find(
    sources: &ModelSources,
    in_models: Option<PathBuf>,
    text_encoder: &Path,
) -> Result<PathBuf, CliError> {
    if let Some(path) = sources.tokenizer.clone().or(in_models) {
        return Ok(path);
    }
    beside(text_encoder).ok_or_else(|| {
        let place = match &sources.models {
            Some(dir) => format!("put them into {}", dir.join("tokenizer").display()),
            None => "put them into a folder".to_owned(),
        };
        CliError::model_file(format!(
            "no tokenizer: download vocab.json, merges.txt and tokenizer_config.json from the \
             `tokenizer` folder of the Qwen/Qwen-Image model repository and {place}, or name \
             their folder with --tokenizer"
        ))
    })
}

/// A tokenizer in the text encoder's folder, or in the `tokenizer` folder in or beside it.
fn beside(text_encoder: &Path) -> Option<PathBuf> {
    let folder = if text_encoder.is_dir() {
        text_encoder
    } else {
        text_encoder.parent()?
    };
    let folders = [
        folder.to_owned(),
        folder.join("tokenizer"),
        folder.join("../tokenizer"),
    ];
    folders.into_iter().find(|folder| {
        let has = |name: &str| folder.join(name).is_file();
        has("tokenizer.json") || (has("vocab.json") && has("merges.txt"))
    })
}

/// Whether every id that the tokenizer can give has a row in the text encoder's embedding.
///
/// # Errors
/// [`CliError::ModelFile`] with both sizes.
pub(crate) fn check_fit(
    tokenizer: &Tokenizer,
    path: &Path,
    text_encoder: &Part<TextEncoderConfig>,
) -> Result<(), CliError> {
    let rows = text_encoder.config.vocab_size;
    if tokenizer.len() <= rows {
        return Ok(());
    }
    Err(CliError::model_file(format!(
        "{}: the tokenizer has ids up to {}, but the embedding of {} has {rows} rows: they belong \
         to different models",
        path.display(),
        tokenizer.len().saturating_sub(1),
        text_encoder.weights.source().display()
    )))
}
