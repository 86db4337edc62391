//! The texts of a run, each once.

use std::collections::HashMap;

use model::tokenizer::{PromptStyle, PromptTokens, Tokenizer};

use crate::error::Error;

/// Gives texts their numbers; the same text in the same style has the same one.
#[derive(Debug, Default)]
pub(super) struct Texts {
    numbers: HashMap<(PromptStyle, String), usize>,
    tokens: Vec<PromptTokens>,
}

impl Texts {
    /// A text's number; one that is new is tokenised.
    ///
    /// # Errors
    /// [`Error::Tokenizer`].
    pub(super) fn number_of(
        &mut self,
        text: &str,
        style: PromptStyle,
        tokenizer: &Tokenizer,
    ) -> Result<usize, Error> {
        let key = (style, text.to_owned());
        if let Some(&number) = self.numbers.get(&key) {
            return Ok(number);
        }
        let number = self.tokens.len();
        self.tokens.push(tokenizer.encode_prompt_in(style, text)?);
        self.numbers.insert(key, number);
        Ok(number)
    }

    /// The tokens of all texts, by number.
    pub(super) fn into_tokens(self) -> Vec<PromptTokens> {
        self.tokens
    }
}
