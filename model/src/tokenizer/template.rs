//! The chat template around a prompt, and the part of the encoded text that the transformer gets.

use super::{Tokenizer, TokenizerError};
use crate::family::{PromptTemplate, QWEN_IMAGE};

/// The token that begins each turn of a conversation.
const TURN: &str = "<|im_start|>";

/// The token that begins a turn in another model's template, which ComfyUI knows too.
const OTHER_TURN: &str = "<|start_header_id|>";

/// The speaker of the turn that is the prompt, with the line's end.
const SPEAKER: &str = "user\n";

/// The template of the models whose prompts are encoded here.
const TEMPLATE: PromptTemplate = QWEN_IMAGE.template;

/// The program whose way of turning a prompt into tokens is followed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum PromptStyle {
    /// diffusers' `QwenImagePipeline`: always the template, of whose tokens the first are dropped;
    /// at most 1024 tokens are encoded, and at most 512 of them kept.
    #[default]
    Diffusers,
    /// ComfyUI's text node. A prompt that starts with `<|im_start|>` or `<|start_header_id|>` is the
    /// whole conversation itself. Everything before the second `<|im_start|>` is dropped, or before
    /// the first if it is the only one, and `user` and a line break after it too; without any, all
    /// tokens but the last are dropped. `\(` and `\)` stand for the brackets. Nothing is cut.
    ComfyUi,
}

/// The ids of a prompt in its template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PromptTokens {
    /// All ids, of the template and the prompt.
    pub ids: Vec<u32>,
    /// The number of ids at the start that belong to the template and are dropped after encoding.
    pub prefix: usize,
    /// The number of ids after the prefix that the transformer gets.
    pub kept: usize,
    /// The number of ids after these that it does not get, the template's suffix included.
    pub cut: usize,
}

impl PromptTokens {
    /// Divides `ids` into the prefix, the part that a style keeps, and the rest.
    fn new(mut ids: Vec<u32>, prefix: usize, style: PromptStyle) -> Self {
        let rest = ids.len() - prefix;
        let kept = match style {
            PromptStyle::Diffusers => {
                ids.truncate(prefix + TEMPLATE.max_tokens);
                rest.min(TEMPLATE.max_sequence_length)
            }
            PromptStyle::ComfyUi => rest,
        };
        Self {
            ids,
            prefix,
            kept,
            cut: rest - kept,
        }
    }
}

impl Tokenizer {
    /// Encodes a prompt in Qwen-Image's template, in diffusers' style. Special tokens in the
    /// prompt's text are parsed as such.
    ///
    /// # Errors
    /// The tokenizer fails, which it never does with a well-formed vocabulary.
    pub fn encode_prompt(&self, prompt: &str) -> Result<PromptTokens, TokenizerError> {
        self.encode_prompt_in(PromptStyle::Diffusers, prompt)
    }

    /// Encodes a prompt as [`encode_prompt`](Self::encode_prompt) does, in a given style.
    ///
    /// # Errors
    /// The tokenizer fails, which it never does with a well-formed vocabulary.
    pub fn encode_prompt_in(
        &self,
        style: PromptStyle,
        prompt: &str,
    ) -> Result<PromptTokens, TokenizerError> {
        // The text is encoded as a whole: a line break at the prompt's start merges with the one
        // before it.
        let PromptTemplate { prefix, suffix, .. } = TEMPLATE;
        let templated = || format!("{prefix}{prompt}{suffix}");
        let (ids, prefix) = match style {
            PromptStyle::Diffusers => (self.encode(&templated())?, self.prefix),
            PromptStyle::ComfyUi => {
                let whole = [TURN, OTHER_TURN]
                    .iter()
                    .any(|turn| prompt.starts_with(turn));
                let text = match whole {
                    true => prompt.to_owned(),
                    false => templated(),
                };
                let ids = self.encode(&text.replace("\\)", ")").replace("\\(", "("))?;
                let prefix = self.before_the_prompt(&ids)?;
                (ids, prefix)
            }
        };
        Ok(PromptTokens::new(ids, prefix, style))
    }

    /// The number of ids before the second turn's text, or before the only one's.
    fn before_the_prompt(&self, ids: &[u32]) -> Result<usize, TokenizerError> {
        let turn = self.inner.token_to_id(TURN);
        let turns = ids.iter().enumerate().filter(|(_, id)| Some(**id) == turn);
        let Some((prefix, _)) = turns.take(2).last() else {
            return Ok(ids.len().saturating_sub(1));
        };
        let speaker = self.encode(SPEAKER)?;
        let after = prefix + 1 + speaker.len();
        let spoken = ids.len() > after && ids[prefix + 1..after] == speaker;
        Ok(if spoken { after } else { prefix })
    }

    /// The length of the template's start in tokens.
    pub(super) fn prefix_length(&self) -> Result<usize, TokenizerError> {
        Ok(self.encode(TEMPLATE.prefix)?.len())
    }
}
