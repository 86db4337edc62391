//! Embeddings of prompts from earlier runs, so that a run of prompts that were encoded before needs
//! no text encoder.
//!
//! An entry stands for the token ids, the text encoder's files as they are on the disk now, the
//! device and what is computed in, and this very build of the program: with any other of them, it
//! is another entry. A cache that cannot be read or written is none, and never an error.

use std::io;
use std::path::Path;

use backends::DeviceChoice;
use burn::tensor::{DType, TensorData};
use loader::Weights;
use model::TextEncoderConfig;
use model::tokenizer::PromptTokens;
use sha2::Digest;

use crate::cache::{Entries, Identity};

/// The most bytes of all entries.
const MAX_BYTES: u64 = 256 << 20;

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
    entries: Entries,
    /// The hash that every key begins with.
    identity: Identity,
    /// The number of an embedding's channels.
    channels: usize,
}

impl PromptCache {
    /// The cache in a folder, which need not be there, for a text encoder on `device`; `None` where
    /// the encoder's files cannot be told from another version of them.
    pub fn open(folder: &Path, encoder: Encoder<'_>, device: &DeviceChoice) -> Option<Self> {
        Some(Self {
            entries: Entries::new(folder, MAX_BYTES),
            identity: identity(&encoder, device).ok()?,
            channels: encoder.config.hidden_size,
        })
    }

    /// The embeddings of a text, f32 `[1, tokens, channels]`, if they are there, whole and finite.
    pub fn get(&self, tokens: &PromptTokens) -> Option<TensorData> {
        let shape = [1, tokens.kept, self.channels];
        self.entries.get(&self.key(tokens), DType::F32, &shape)
    }

    /// Keeps the embeddings of a text.
    pub fn put(&self, tokens: &PromptTokens, embeds: &TensorData) {
        self.entries.put(&self.key(tokens), embeds);
    }

    fn key(&self, tokens: &PromptTokens) -> String {
        self.identity.key(|hash| {
            hash.update((tokens.prefix as u64).to_le_bytes());
            hash.update((tokens.kept as u64).to_le_bytes());
            for id in &tokens.ids {
                hash.update(id.to_le_bytes());
            }
        })
    }
}

/// The hash of all that embeddings depend on beside the prompt's tokens.
fn identity(encoder: &Encoder<'_>, device: &DeviceChoice) -> io::Result<Identity> {
    let mut identity = Identity::of(device)?;
    identity.add_text(&format!("{:?}", encoder.config));
    for file in encoder.weights.checkpoint().files() {
        identity.add_file(&file.path)?;
    }
    identity.add_text(encoder.numerics);
    Ok(identity)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
