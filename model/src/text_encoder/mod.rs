//! Qwen2.5-VL's language model as a text encoder (Bai et al., "Qwen2.5-VL Technical Report",
//! arXiv 2502.13923): a causal decoder whose last hidden states describe the prompt.

mod attention;
mod layer;

pub use attention::SelfAttention;
pub use layer::{DecoderLayer, FeedForward};

use backends::ModelBackend;
use burn::module::Module;
use burn::tensor::backend::Backend;
use burn::tensor::{DType, FloatDType, Int, Tensor, TensorData};

use crate::block_source::BlockSource;
use crate::builder::Builder;
use crate::config::TextEncoderConfig;
use crate::linear::Embedding;
use crate::norm::RmsNorm;
use crate::rotary::{RotaryTable, inverse_frequencies};

/// The language model without its output head.
#[derive(Module, Debug)]
pub struct TextEncoder<B: Backend> {
    /// `[vocab_size, hidden_size]`.
    pub embed_tokens: Embedding<B>,
    /// The decoder layers.
    pub layers: Vec<DecoderLayer<B>>,
    /// The norm after the last layer.
    pub norm: RmsNorm<B>,
    head_dim: usize,
    rope_theta: f64,
}

impl<B: Backend> TextEncoder<B> {
    /// A text encoder whose parameters wait for a loader.
    pub fn uninitialized(config: &TextEncoderConfig, root: &Builder<B>) -> Self {
        let model = root.at("model");
        Self {
            embed_tokens: model.embedding("embed_tokens", config.vocab_size, config.hidden_size),
            layers: model.list("layers", config.num_hidden_layers, |layer, _| {
                DecoderLayer::uninitialized(config, layer)
            }),
            norm: model.rms_norm("norm", config.hidden_size, config.rms_norm_eps),
            head_dim: config.head_dim,
            rope_theta: config.rope_theta,
        }
    }
}

impl<B: ModelBackend> TextEncoder<B> {
    /// Computes the hidden states of several sequences after the final norm, each by itself, through
    /// layers that a source lends: from the sequences' [embeddings](Self::embed), float
    /// `[1, tokens, hidden_size]`, to the same shape and dtype.
    ///
    /// `cancelled` is asked before each layer; once it says so, there is no result.
    ///
    /// # Errors
    /// The source could not lend a layer.
    pub fn forward_through<S: BlockSource<DecoderLayer<B>>>(
        &self,
        layers: &mut S,
        sequences: Vec<Tensor<B, 3>>,
        cancelled: &dyn Fn() -> bool,
    ) -> Result<Option<Vec<Tensor<B, 3>>>, S::Error> {
        let rotary = |x: &Tensor<B, 3>| self.rotary(x.dims()[1], &x.device());
        let rotary: Vec<_> = sequences.iter().map(rotary).collect();
        let mut sequences = sequences;
        for index in 0..layers.count() {
            if cancelled() {
                return Ok(None);
            }
            sequences = layers.with_block(index, |layer| {
                let each = sequences.into_iter().zip(&rotary);
                each.map(|(x, rotary)| layer.forward(x, rotary)).collect()
            })?;
        }
        let normed = sequences.into_iter().map(|x| self.norm.forward(x));
        Ok(Some(normed.collect()))
    }

    /// The embeddings of token ids: `dtype` `[1, tokens, hidden_size]`.
    pub fn embed(&self, ids: &[u32], dtype: FloatDType, device: &B::Device) -> Tensor<B, 3> {
        let ids: Vec<i32> = ids.iter().map(|&id| id as i32).collect();
        let ids = TensorData::new(ids.clone(), [ids.len()]);
        let ids = Tensor::<B, 1, Int>::from_data(ids, (device, DType::I32));
        self.embed_tokens.forward(ids, dtype).unsqueeze()
    }

    /// The rotary angles of positions `0..tokens`. For text, Qwen2.5-VL's three axes of
    /// position are one.
    pub fn rotary(&self, tokens: usize, device: &B::Device) -> RotaryTable<B> {
        let frequencies = inverse_frequencies(self.head_dim, self.rope_theta);
        RotaryTable::of_sequence(tokens, &frequencies, device)
    }
}
