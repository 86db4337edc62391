//! Finds the tokenizer, which single-file checkpoints do not carry.

use std::path::{Path, PathBuf};

use model::{TextEncoderConfig, Tokenizer};

use super::Part;
use crate::error::Error;
use crate::request::ModelSources;

/// Finds the tokenizer's path: the one that is named, else what was found in the models
/// folder, else beside the text encoder.
///
/// # Errors
/// [`Error::NoTokenizer`].
pub(super) fn find(
    sources: &ModelSources,
    in_models: Option<PathBuf>,
    text_encoder: &Path,
) -> Result<PathBuf, Error> {
    if let Some(path) = sources.tokenizer.clone().or(in_models) {
        return Ok(path);
    }
    beside(text_encoder).ok_or_else(|| Error::NoTokenizer {
        folder: sources.models.clone(),
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

/// Tells whether every id that the tokenizer can give has a row in the text encoder's embedding.
///
/// # Errors
/// [`Error::ModelFile`] with both sizes.
pub(super) fn check_fit(
    tokenizer: &Tokenizer,
    path: &Path,
    text_encoder: &Part<TextEncoderConfig>,
) -> Result<(), Error> {
    let rows = text_encoder.config.vocab_size;
    if tokenizer.len() <= rows {
        return Ok(());
    }
    Err(Error::ModelFile(format!(
        "{}: the tokenizer has ids up to {}, but the embedding of {} has {rows} rows: they belong \
         to different models",
        path.display(),
        tokenizer.len().saturating_sub(1),
        text_encoder.weights.source().display()
    )))
}
