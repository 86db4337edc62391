//! Grouped-query self-attention (Ainslie et al., "GQA", 2023) with rotary positions.

use backends::ModelBackend;
use backends::fused::{attention, rotary_embedding};
use backends::kernels::Rotation;
use burn::module::Module;
use burn::tensor::Tensor;
use burn::tensor::backend::Backend;

use crate::builder::Builder;
use crate::config::TextEncoderConfig;
use crate::linear::Linear;
use crate::rotary::RotaryTable;

/// Causal self-attention; queries, keys and values have biases, the output has none.
#[derive(Module, Debug)]
pub struct SelfAttention<B: Backend> {
    /// The projection to all query heads.
    pub q_proj: Linear<B>,
    /// The projection to all key heads.
    pub k_proj: Linear<B>,
    /// The projection to all value heads.
    pub v_proj: Linear<B>,
    /// The projection from all heads back to the residual stream.
    pub o_proj: Linear<B>,
    head_dim: usize,
}

impl<B: Backend> SelfAttention<B> {
    /// Attention whose parameters wait for a loader.
    pub fn uninitialized(config: &TextEncoderConfig, at: &Builder<B>) -> Self {
        let hidden = config.hidden_size;
        let heads = config.num_attention_heads * config.head_dim;
        let kv_heads = config.num_key_value_heads * config.head_dim;
        Self {
            q_proj: at.linear("q_proj", hidden, heads, true),
            k_proj: at.linear("k_proj", hidden, kv_heads, true),
            v_proj: at.linear("v_proj", hidden, kv_heads, true),
            o_proj: at.linear("o_proj", heads, hidden, false),
            head_dim: config.head_dim,
        }
    }
}

impl<B: ModelBackend> SelfAttention<B> {
    /// Float `[batch, tokens, hidden_size]` to the same.
    pub fn forward(&self, x: Tensor<B, 3>, rotary: &RotaryTable<B>) -> Tensor<B, 3> {
        let heads = |x: Tensor<B, 3>| {
            let [batch, tokens, channels] = x.dims();
            x.reshape([batch, tokens, channels / self.head_dim, self.head_dim])
        };
        let rotated = |x| {
            rotary_embedding(
                heads(x),
                rotary.cos.clone(),
                rotary.sin.clone(),
                Rotation::Halves,
            )
        };
        let q = rotated(self.q_proj.forward(x.clone()));
        let k = rotated(self.k_proj.forward(x.clone()));
        let v = heads(self.v_proj.forward(x));
        self.o_proj.forward(attention(q, k, v, true).flatten(2, 3))
    }
}
