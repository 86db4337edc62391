//! The sizes of the work that a plan is about.

use model::family::QWEN_IMAGE;
use model::latents::TokenGrid;
use model::tokenizer::{PromptTokens, Tokenizer};
use model::vae::Tiling;
use serde::Serialize;

use crate::error::Error;

/// Sizes of the work.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Work {
    /// Pixels across, of the largest image.
    pub width: u32,
    /// Pixels down, of the same.
    pub height: u32,
    /// Tokens of the longest text that is encoded, with the template.
    pub encoder_tokens: usize,
    /// Texts that are encoded.
    pub texts: usize,
    /// Most text tokens beside the image's in the transformer.
    pub text_tokens: usize,
    /// True if any step has a second prediction.
    pub guided: bool,
    /// Images, made one after the other.
    pub images: usize,
    /// Most timesteps whose modulations are in memory together.
    #[serde(skip)]
    pub timesteps: usize,
    /// The decoder's tiles, where they are settled already.
    #[serde(skip)]
    pub decoder_tiling: Option<Tiling>,
}

impl Work {
    /// The tokens of the image.
    pub fn image_tokens(&self) -> usize {
        TokenGrid::of_image(self.width as usize, self.height as usize).tokens()
    }

    /// Text tokens of each of the transformer's branches, at most.
    pub fn text_lengths(&self) -> Vec<usize> {
        vec![self.text_tokens; 1 + usize::from(self.guided)]
    }

    /// Adds the tokens of texts.
    pub fn with_texts<'a>(self, texts: impl IntoIterator<Item = &'a PromptTokens>) -> Self {
        texts.into_iter().fold(self, |work, text| Self {
            encoder_tokens: work.encoder_tokens.max(text.ids.len()),
            texts: work.texts + 1,
            text_tokens: work.text_tokens.max(text.kept),
            ..work
        })
    }

    /// Assumes a prompt of as many tokens as the transformer takes.
    ///
    /// # Errors
    /// [`Error::Tokenizer`].
    pub fn with_longest_text(self, tokenizer: &Tokenizer) -> Result<Self, Error> {
        let prefix = tokenizer.encode_prompt("")?.prefix;
        let longest = QWEN_IMAGE.template.max_sequence_length;
        Ok(Self {
            encoder_tokens: self.encoder_tokens.max(prefix + longest),
            text_tokens: longest,
            ..self
        })
    }
}
