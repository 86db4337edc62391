//! The chat template around a prompt, and what of the encoded text the transformer gets.

use super::{Tokenizer, TokenizerError};
use crate::family::{PromptTemplate, QWEN_IMAGE};

/// What begins each turn of a conversation.
const TURN: &str = "<|im_start|>";

/// What begins a turn in another family's template, which ComfyUI knows too.
const OTHER_TURN: &str = "<|start_header_id|>";

/// Who speaks in the turn that is the prompt, with the line's end.
const SPEAKER: &str = "user\n";

/// The template of the models whose prompts are encoded here.
const TEMPLATE: PromptTemplate = QWEN_IMAGE.template;

/// Whose way of turning a prompt into tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum PromptStyle {
    /// diffusers' `QwenImagePipeline`: always the template, of whose tokens the first are dropped;
    /// at most 1024 tokens are encoded, and at most 512 of them kept.
    #[default]
    Diffusers,
    /// ComfyUI's text node: a prompt that starts with `<|im_start|>` or `<|start_header_id|>` is the
    /// whole conversation itself; what comes before the second `<|im_start|>`, or before the first if
    /// it is the only one, is dropped, and `user` and a line break after it too, and without any of
    /// them all but the last token; `\(` and `\)` stand for the brackets; nothing is cut.
    ComfyUi,
}

/// The ids of a prompt in its template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PromptTokens {
    /// All of them.
    pub ids: Vec<u32>,
    /// How many at the start belong to the template and are dropped after encoding.
    pub prefix: usize,
    /// How many after them the transformer gets.
    pub kept: usize,
    /// How many after these it does not get, the template's last ones included.
    pub cut: usize,
}

impl PromptTokens {
    /// All ids after the prefix, as far as a style lets them through.
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
    /// The prompt in Qwen-Image's template, in diffusers' style. Special tokens in the prompt's
    /// text are parsed as such.
    ///
    /// # Errors
    /// The tokenizer's own, which a well-formed vocabulary never gives.
    pub fn encode_prompt(&self, prompt: &str) -> Result<PromptTokens, TokenizerError> {
        self.encode_prompt_in(PromptStyle::Diffusers, prompt)
    }

    /// As [`encode_prompt`](Self::encode_prompt), in a given style.
    ///
    /// # Errors
    /// The tokenizer's own, which a well-formed vocabulary never gives.
    pub fn encode_prompt_in(
        &self,
        style: PromptStyle,
        prompt: &str,
    ) -> Result<PromptTokens, TokenizerError> {
        // The whole text at once: a line break at the prompt's start merges with the one
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

    /// How many ids come before the second turn's text, or the only one's.
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
