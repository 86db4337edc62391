//! The texts of a run, each once.

use std::collections::HashMap;

use model::tokenizer::{PromptTokens, Tokenizer};

use crate::error::CliError;

/// Gives texts their numbers; the same text has the same one.
#[derive(Debug, Default)]
pub(super) struct Texts {
    numbers: HashMap<String, usize>,
    tokens: Vec<PromptTokens>,
}

impl Texts {
    /// A text's number; one that is new is tokenised.
    ///
    /// # Errors
    /// [`CliError::Tokenizer`].
    pub(super) fn number_of(
        &mut self,
        text: &str,
        tokenizer: &Tokenizer,
    ) -> Result<usize, CliError> {
        if let Some(&number) = self.numbers.get(text) {
            return Ok(number);
        }
        let number = self.tokens.len();
        self.tokens.push(tokenizer.encode_prompt(text)?);
        self.numbers.insert(text.to_owned(), number);
        Ok(number)
    }

    /// The tokens of all texts, by number.
    pub(super) fn into_tokens(self) -> Vec<PromptTokens> {
        self.tokens
    }
}
