//! Prompts become embeddings.

use std::error::Error;

use backends::ModelBackend;
use burn::tensor::{FloatDType, Tensor};

use super::{Observer, PipelineError};
use crate::block_source::{BlockSource, Resident};
use crate::text_encoder::{DecoderLayer, TextEncoder};
use crate::tokenizer::PromptTokens;

/// Encodes a prompt, with an encoder that is wholly in memory, to its embeddings: f32
/// `[1, tokens, channels]`, without the template's prefix and the tokens that the prompt's style
/// cuts.
///
/// # Errors
/// A token has no row in the embedding, or the observer cancelled.
///
/// # Panics
/// The device fails; see [the module](super#panics).
pub fn encode_prompt<B: ModelBackend>(
    encoder: &TextEncoder<B>,
    tokens: &PromptTokens,
    dtype: FloatDType,
    device: &B::Device,
    observer: &dyn Observer<B>,
) -> Result<Tensor<B, 3>, PipelineError> {
    let mut layers = Resident(&encoder.layers);
    let mut embed = |ids: &[u32]| Ok(encoder.embed(ids, dtype, device));
    let mut encoded = encode_prompts(encoder, &mut layers, &[tokens], &mut embed, observer)?;
    Ok(encoded.remove(0))
}

/// A function that turns token ids into their vectors, `[1, tokens, hidden_size]` in the dtype to
/// compute in; see [`TextEncoder::embed`].
pub type Embed<'a, B> = dyn FnMut(&[u32]) -> Result<Tensor<B, 3>, PipelineError> + 'a;

/// Encodes several prompts, each as [`encode_prompt`] does, in one pass over layers that a source
/// lends. The hidden states of all prompts are alive meanwhile.
///
/// * `encoder`: the text encoder, of whose own layers and embedding nothing but the embedding's
///   shape is used.
/// * `embed`: a look-up of the prompts' tokens.
///
/// # Errors
/// A token has no row in the embedding; the observer cancelled; [`PipelineError::Blocks`]; those of
/// `embed`.
///
/// # Panics
/// The device fails; see [the module](super#panics).
pub fn encode_prompts<B, S>(
    encoder: &TextEncoder<B>,
    layers: &mut S,
    prompts: &[&PromptTokens],
    embed: &mut Embed<'_, B>,
    observer: &dyn Observer<B>,
) -> Result<Vec<Tensor<B, 3>>, PipelineError>
where
    B: ModelBackend,
    S: BlockSource<DecoderLayer<B>>,
    S::Error: Error + Send + Sync + 'static,
{
    let [rows, _] = encoder.embed_tokens.weight.shape();
    let mut ids = prompts.iter().flat_map(|tokens| &tokens.ids);
    if let Some(&id) = ids.find(|&&id| id as usize >= rows) {
        return Err(PipelineError::TokenOutOfRange { id, rows });
    }
    let vectors = prompts.iter().map(|tokens| embed(&tokens.ids));
    let vectors = vectors.collect::<Result<_, _>>()?;
    let hidden = encoder
        .forward_through(layers, vectors, &|| observer.cancelled())
        .map_err(PipelineError::blocks)?
        .ok_or(PipelineError::Cancelled)?;
    let kept = |(hidden, tokens): (Tensor<B, 3>, &&PromptTokens)| {
        let kept = hidden.narrow(1, tokens.prefix, tokens.kept);
        kept.cast(FloatDType::F32)
    };
    Ok(hidden.into_iter().zip(prompts).map(kept).collect())
}
