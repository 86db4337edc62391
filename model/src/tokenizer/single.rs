//! `tokenizer.json`: a whole tokenizer in one file.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;
use serde_json::Value;

use super::{TokenizerError, check_merges, malformed, read};

/// The parts of the file that are checked before it is used.
#[derive(Deserialize)]
struct Parts {
    model: Model,
    #[serde(default)]
    pre_tokenizer: Value,
    #[serde(default)]
    added_tokens: Vec<Added>,
}

#[derive(Deserialize)]
struct Model {
    #[serde(rename = "type")]
    kind: Option<String>,
    #[serde(default)]
    vocab: Value,
    #[serde(default)]
    merges: Option<Vec<Merge>>,
}

/// A pair as files of before and after tokenizers 0.20 have it.
#[derive(Deserialize)]
#[serde(untagged)]
enum Merge {
    Text(String),
    Pair(String, String),
}

#[derive(Deserialize)]
struct Added {
    content: String,
}

/// Reads the file. One that lacks a part would make other tokens of the same text.
///
/// # Errors
/// [`TokenizerError::Malformed`] says which part is missing; a file that cannot be read.
pub(super) fn open(path: &Path) -> Result<tokenizers::Tokenizer, TokenizerError> {
    let bytes = read(path)?;
    let parts = serde_json::from_slice(&bytes).map_err(|error| malformed(path, error))?;
    check(parts).map_err(|reason| malformed(path, reason))?;
    tokenizers::Tokenizer::from_bytes(bytes).map_err(|error| malformed(path, error))
}

fn check(parts: Parts) -> Result<(), String> {
    const INSTEAD: &str = "use vocab.json, merges.txt and tokenizer_config.json instead, from the \
                           `tokenizer` folder of the Qwen/Qwen-Image model repository";
    let Model {
        kind,
        vocab,
        merges,
    } = parts.model;
    if let Some(kind) = kind.filter(|kind| kind != "BPE") {
        return Err(format!("its model is {kind}, and BPE is needed: {INSTEAD}"));
    }
    let merges = merges.unwrap_or_default();
    if merges.is_empty() {
        return Err(format!(
            "it has no merges, without which text cannot be encoded: {INSTEAD}"
        ));
    }
    if parts.pre_tokenizer.is_null() {
        return Err(format!(
            "it has no pre_tokenizer, which says how text is split: {INSTEAD}"
        ));
    }
    let vocab: BTreeMap<String, u32> =
        serde_json::from_value(vocab).map_err(|error| format!("vocab: {error}"))?;
    let merges = merges
        .into_iter()
        .map(|merge| match merge {
            Merge::Pair(left, right) => Ok((left, right)),
            Merge::Text(text) => match text.split_once(' ') {
                Some((left, right)) => Ok((left.to_owned(), right.to_owned())),
                None => Err(format!("the merge {text:?} is not a pair of tokens")),
            },
        })
        .collect::<Result<Vec<_>, _>>()?;
    let added = parts.added_tokens.iter();
    check_merges(&vocab, &merges, added.map(|token| token.content.as_str()))
        .map_err(|reason| format!("{reason}; {INSTEAD}"))
}
