//! Embeddings of prompts from earlier runs, so that a run of prompts that were encoded before needs
//! no text encoder.
//!
//! An entry stands for the token ids, the text encoder's files as they are on the disk now, the
//! device and what is computed in, and this very build of the program: with any other of them, it
//! is another entry. A cache that cannot be read or written is none, and never an error.

pub(crate) mod entry;
mod identity;

pub use identity::add_build;

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use backends::DeviceChoice;
use burn::tensor::TensorData;
use loader::Weights;
use model::TextEncoderConfig;
use model::tokenizer::PromptTokens;
use sha2::{Digest, Sha256};

/// The most bytes of all entries; those that were used least recently are dropped.
const MAX_BYTES: u64 = 256 << 20;
/// A temporary file that is older was left by a run that was killed.
const STALE: Duration = Duration::from_secs(24 * 60 * 60);
/// The most bytes of an entry's header and metadata.
const MAX_HEADER_BYTES: u64 = 4096;
const EXTENSION: &str = "safetensors";

/// The text encoder whose embeddings are kept.
#[derive(Debug, Clone, Copy)]
pub struct Encoder<'a> {
    /// Its sizes.
    pub config: &'a TextEncoderConfig,
    /// Its files.
    pub weights: &'a Weights,
    /// A text that tells how its weights are stored and what it computes in.
    pub numerics: &'a str,
}

/// A folder of embeddings, for one text encoder on one device.
#[derive(Debug)]
pub struct PromptCache {
    folder: PathBuf,
    /// The hash that every key begins with.
    identity: Sha256,
    /// The number of an embedding's channels.
    channels: usize,
}

impl PromptCache {
    /// The cache in a folder, which need not be there, for a text encoder on `device`; `None` where
    /// the encoder's files cannot be told from another version of them.
    pub fn open(folder: &Path, encoder: Encoder<'_>, device: &DeviceChoice) -> Option<Self> {
        Some(Self {
            folder: folder.to_owned(),
            identity: identity::of(&encoder, device).ok()?,
            channels: encoder.config.hidden_size,
        })
    }

    /// The embeddings of a text, f32 `[1, tokens, channels]`, if they are there, whole and finite.
    pub fn get(&self, tokens: &PromptTokens) -> Option<TensorData> {
        let key = self.key(tokens);
        let path = self.path(&key);
        let shape = self.shape(tokens);
        let most = 4 * shape.iter().product::<usize>() as u64 + MAX_HEADER_BYTES;
        let mut bytes = Vec::new();
        let file = File::open(&path).ok()?;
        file.take(most + 1).read_to_end(&mut bytes).ok()?;
        let values = entry::read(&bytes, &key, &shape)?;
        if !values.iter().all(|value| value.is_finite()) {
            return None;
        }
        // Only the order in which entries are dropped depends on it.
        let _ = File::options()
            .write(true)
            .open(&path)
            .and_then(|file| file.set_modified(SystemTime::now()));
        Some(TensorData::new(values, shape))
    }

    /// Keeps the embeddings of a text.
    pub fn put(&self, tokens: &PromptTokens, embeds: &TensorData) {
        let key = self.key(tokens);
        let written = embeds
            .as_slice::<f32>()
            .ok()
            .and_then(|values| entry::write(values, &embeds.shape, &key));
        if let Some(bytes) = written {
            // Without a cache the next run is slower, and that is all.
            let _ = self.store(&key, &bytes);
            let _ = prune(&self.folder, MAX_BYTES);
        }
    }

    fn store(&self, key: &str, bytes: &[u8]) -> std::io::Result<()> {
        use std::io::Write;
        fs::create_dir_all(&self.folder)?;
        let mut builder = tempfile::Builder::new();
        let mut file = builder
            .prefix(".")
            .suffix(".part")
            .tempfile_in(&self.folder)?;
        file.write_all(bytes)?;
        file.persist(self.path(key))?;
        Ok(())
    }

    /// The shape of a text's embedding, with the rows that are kept.
    fn shape(&self, tokens: &PromptTokens) -> [usize; 3] {
        [1, tokens.kept, self.channels]
    }

    fn key(&self, tokens: &PromptTokens) -> String {
        let mut hash = self.identity.clone();
        hash.update((tokens.prefix as u64).to_le_bytes());
        hash.update((tokens.kept as u64).to_le_bytes());
        for id in &tokens.ids {
            hash.update(id.to_le_bytes());
        }
        format!("{:x}", hash.finalize())
    }

    fn path(&self, key: &str) -> PathBuf {
        self.folder.join(key).with_extension(EXTENSION)
    }
}

/// Drops the entries that were used least recently until all take at most `limit` bytes, and what
/// killed runs left.
fn prune(folder: &Path, limit: u64) -> std::io::Result<()> {
    let mut entries = Vec::new();
    for entry in fs::read_dir(folder)?.flatten() {
        let path = entry.path();
        let Ok(metadata) = entry.metadata() else {
            continue;
        };
        let modified = metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH);
        match path.extension().and_then(|extension| extension.to_str()) {
            Some(EXTENSION) => entries.push((modified, metadata.len(), path)),
            Some("part") if modified.elapsed().is_ok_and(|age| age > STALE) => {
                let _ = fs::remove_file(path);
            }
            _ => {}
        }
    }
    entries.sort();
    let mut total: u64 = entries.iter().map(|(_, bytes, _)| bytes).sum();
    for (_, bytes, path) in entries {
        if total <= limit {
            break;
        }
        // Another run may have dropped it meanwhile.
        let _ = fs::remove_file(path);
        total -= bytes;
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
