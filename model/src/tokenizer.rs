//! The tokenizer turns a prompt into token ids: Qwen2.5's byte-level BPE (byte-pair encoding;
//! Sennrich et al., 2016), applied to the prompt inside Qwen-Image's chat template.

mod single;
mod template;

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use tokenizers::models::bpe::{BPE, Vocab};
use tokenizers::normalizers::unicode::NFC;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::sequence::Sequence;
use tokenizers::pre_tokenizers::split::{Split, SplitPattern};
use tokenizers::{AddedToken, SplitDelimiterBehavior};

pub use template::{PromptStyle, PromptTokens};

/// The pattern by which Qwen2 splits text before it merges bytes.
const SPLIT: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

/// The special tokens with their ids, as transformers wrote them before `tokenizer_config.json` had
/// them.
const ADDED_TOKENS: &str = "added_tokens.json";

/// Why there is no tokenizer.
#[derive(Debug, thiserror::Error)]
pub enum TokenizerError {
    /// A file is not there.
    #[error(
        "tokenizer: {0} not found: the folder needs vocab.json, merges.txt and tokenizer_config.json (or tokenizer.json); they come from the `tokenizer` folder of the Qwen/Qwen-Image model repository"
    )]
    Missing(PathBuf),
    /// A file cannot be read.
    #[error("tokenizer: {path} cannot be read: {source}")]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
    /// A file's content is not what its name says.
    #[error("tokenizer: {path} is not a Qwen2 tokenizer file: {reason}")]
    Malformed {
        /// Which file.
        path: PathBuf,
        /// The fault.
        reason: String,
    },
    /// A text could not be tokenised.
    #[error("the prompt cannot be tokenised: {0}")]
    Encode(String),
}

/// Qwen2.5's tokenizer.
#[derive(Debug)]
pub struct Tokenizer {
    inner: tokenizers::Tokenizer,
    prefix: usize,
}

/// The part of `tokenizer_config.json` that matters here.
#[derive(Default, Deserialize)]
struct TokenizerConfig {
    #[serde(default)]
    added_tokens_decoder: BTreeMap<String, AddedTokenConfig>,
}

#[derive(Default, Deserialize)]
struct AddedTokenConfig {
    content: String,
    #[serde(default)]
    lstrip: bool,
    #[serde(default)]
    rstrip: bool,
    #[serde(default)]
    single_word: bool,
    #[serde(default)]
    normalized: bool,
    #[serde(default)]
    special: bool,
}

impl Tokenizer {
    /// Reads a `tokenizer.json`, or a folder that holds one, or a folder that holds
    /// `vocab.json`, `merges.txt` and `tokenizer_config.json`.
    ///
    /// # Errors
    /// A file is missing, unreadable or malformed.
    pub fn open(path: &Path) -> Result<Self, TokenizerError> {
        let single = if path.is_dir() {
            path.join("tokenizer.json")
        } else {
            path.to_owned()
        };
        let mut inner = if single.is_file() {
            let mut inner = single::open(&single)?;
            add_older_tokens(&mut inner, &single.with_file_name(ADDED_TOKENS))?;
            inner
        } else if path.is_dir() {
            from_parts(path)?
        } else {
            return Err(TokenizerError::Missing(path.to_owned()));
        };
        // Padding or truncation set up for another use would change the ids.
        inner.with_padding(None);
        inner
            .with_truncation(None)
            .map_err(|error| malformed(path, error))?;
        let mut tokenizer = Self { inner, prefix: 0 };
        tokenizer.prefix = tokenizer.prefix_length()?;
        if !tokenizer.has("<|im_start|>") || !tokenizer.has("<|im_end|>") {
            return Err(malformed(
                path,
                "the special tokens <|im_start|> and <|im_end|> are not defined",
            ));
        }
        Ok(tokenizer)
    }

    /// One more than the largest id: the rows that an embedding needs.
    pub fn len(&self) -> usize {
        let vocabulary = self.inner.get_vocab(true);
        vocabulary
            .values()
            .max()
            .map_or(0, |&largest| largest as usize + 1)
    }

    /// Returns whether there is no token at all.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn encode(&self, text: &str) -> Result<Vec<u32>, TokenizerError> {
        self.inner
            .encode(text, false)
            .map(|encoding| encoding.get_ids().to_vec())
            .map_err(|error| TokenizerError::Encode(error.to_string()))
    }

    fn has(&self, token: &str) -> bool {
        self.inner.token_to_id(token).is_some()
    }
}

/// Builds the tokenizer from its three files.
fn from_parts(folder: &Path) -> Result<tokenizers::Tokenizer, TokenizerError> {
    let vocab_path = folder.join("vocab.json");
    let merges_path = folder.join("merges.txt");
    let config_path = folder.join("tokenizer_config.json");
    let vocab = serde_json::from_slice::<BTreeMap<String, u32>>(&read(&vocab_path)?)
        .map_err(|error| malformed(&vocab_path, error))?;
    let merges = parse_merges(&merges_path)?;
    let added_path = folder.join(ADDED_TOKENS);
    let mut config = match config_path.is_file() || !added_path.is_file() {
        true => serde_json::from_slice(&read(&config_path)?)
            .map_err(|error| malformed(&config_path, error))?,
        false => TokenizerConfig::default(),
    };
    // If the newer file has a list, the older one is ignored, as in transformers.
    if config.added_tokens_decoder.is_empty() && added_path.is_file() {
        config.added_tokens_decoder = older_tokens(&added_path)?;
    }
    let added = config.added_tokens_decoder.values();
    check_merges(&vocab, &merges, added.map(|token| token.content.as_str()))
        .map_err(|reason| malformed(&merges_path, reason))?;

    let bpe = BPE::builder()
        .vocab_and_merges(vocab.into_iter().collect::<Vocab>(), merges)
        .build()
        .map_err(|error| malformed(&merges_path, error))?;
    let mut tokenizer = tokenizers::Tokenizer::new(bpe);
    let split = Split::new(
        SplitPattern::Regex(SPLIT.into()),
        SplitDelimiterBehavior::Isolated,
        false,
    )
    .map_err(|error| malformed(folder, error))?;
    let bytes = ByteLevel::new(false, false, false);
    tokenizer
        .with_normalizer(Some(NFC))
        .map_err(|error| malformed(folder, error))?
        .with_pre_tokenizer(Some(Sequence::new(vec![split.into(), bytes.into()])))
        .with_decoder(Some(bytes));
    add_tokens(&mut tokenizer, config, &config_path)?;
    Ok(tokenizer)
}

/// Reads the pairs of `merges.txt`, in order of priority. Only the first line can be a comment,
/// since `#` is a token like any other.
fn parse_merges(path: &Path) -> Result<Vec<(String, String)>, TokenizerError> {
    let text = String::from_utf8(read(path)?).map_err(|error| malformed(path, error))?;
    text.lines()
        .enumerate()
        .filter(|(number, line)| {
            let comment = *number == 0 && line.starts_with("#version");
            !line.is_empty() && !comment
        })
        .map(|(number, line)| match line.split_once(' ') {
            Some((left, right)) if !right.contains(' ') => Ok((left.into(), right.into())),
            _ => Err(malformed(
                path,
                format!("line {} is not a pair of tokens", number + 1),
            )),
        })
        .collect()
}

/// Checks that merges make every token of more than one character. If some were missing, prompts
/// would silently become other tokens.
fn check_merges<'a>(
    vocab: &BTreeMap<String, u32>,
    merges: &[(String, String)],
    added: impl Iterator<Item = &'a str>,
) -> Result<(), String> {
    let pairs = merges.iter().map(|(left, right)| format!("{left}{right}"));
    let made: HashSet<String> = pairs.collect();
    let added: HashSet<&str> = added.collect();
    let is_made = |token: &&String| token.chars().nth(1).is_some() && !added.contains(&***token);
    let (wanted, missing) = vocab
        .keys()
        .filter(is_made)
        .fold((0, 0), |(all, out), token| {
            (all + 1, out + usize::from(!made.contains(token)))
        });
    match missing {
        0 => Ok(()),
        _ => Err(format!(
            "{missing} of the {wanted} tokens that merges should make cannot be made: the file is \
             cut, or belongs to another vocab.json"
        )),
    }
}

/// The tokens of an `added_tokens.json`, by their ids.
fn older_tokens(path: &Path) -> Result<BTreeMap<String, AddedTokenConfig>, TokenizerError> {
    let ids: BTreeMap<String, u32> =
        serde_json::from_slice(&read(path)?).map_err(|error| malformed(path, error))?;
    let tokens = ids.into_iter().map(|(content, id)| {
        let token = AddedTokenConfig {
            content,
            special: true,
            ..AddedTokenConfig::default()
        };
        (id.to_string(), token)
    });
    Ok(tokens.collect())
}

/// Adds the tokens of an `added_tokens.json` that a tokenizer does not have.
fn add_older_tokens(
    tokenizer: &mut tokenizers::Tokenizer,
    path: &Path,
) -> Result<(), TokenizerError> {
    if !path.is_file() {
        return Ok(());
    }
    let config = TokenizerConfig {
        added_tokens_decoder: older_tokens(path)?,
    };
    add_tokens(tokenizer, config, path)
}

/// Adds the special tokens and checks that each gets the id from its file.
fn add_tokens(
    tokenizer: &mut tokenizers::Tokenizer,
    config: TokenizerConfig,
    path: &Path,
) -> Result<(), TokenizerError> {
    let mut tokens = config
        .added_tokens_decoder
        .into_iter()
        .map(|(id, token)| match id.parse::<u32>() {
            Ok(id) => Ok((id, token)),
            Err(_) => Err(malformed(path, format!("'{id}' is not a token id"))),
        })
        .collect::<Result<Vec<_>, _>>()?;
    tokens.sort_by_key(|(id, _)| *id);
    for (id, token) in tokens {
        let added = AddedToken::from(token.content.clone(), token.special)
            .lstrip(token.lstrip)
            .rstrip(token.rstrip)
            .single_word(token.single_word)
            .normalized(token.normalized);
        let result = if token.special {
            tokenizer.add_special_tokens([added])
        } else {
            tokenizer.add_tokens([added])
        };
        result.map_err(|error| malformed(path, error))?;
        if tokenizer.token_to_id(&token.content) != Some(id) {
            return Err(malformed(
                path,
                format!(
                    "token {id} does not follow the vocabulary: the files belong to different tokenizers"
                ),
            ));
        }
    }
    Ok(())
}

fn read(path: &Path) -> Result<Vec<u8>, TokenizerError> {
    fs::read(path).map_err(|source| match source.kind() {
        std::io::ErrorKind::NotFound => TokenizerError::Missing(path.to_owned()),
        _ => TokenizerError::Unreadable {
            path: path.to_owned(),
            source,
        },
    })
}

fn malformed(path: &Path, reason: impl std::fmt::Display) -> TokenizerError {
    TokenizerError::Malformed {
        path: path.to_owned(),
        reason: reason.to_string(),
    }
}
