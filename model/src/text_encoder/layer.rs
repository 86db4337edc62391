//! One layer of the language model.

use backends::ModelBackend;
use backends::fused::silu_mul;
use burn::module::Module;
use burn::tensor::Tensor;
use burn::tensor::backend::Backend;

use super::attention::SelfAttention;
use crate::builder::Builder;
use crate::config::TextEncoderConfig;
use crate::linear::Linear;
use crate::norm::RmsNorm;
use crate::rotary::RotaryTable;

/// Attention and a feed-forward, each on the normalised residual stream.
#[derive(Module, Debug)]
pub struct DecoderLayer<B: Backend> {
    /// The norm before attention.
    pub input_layernorm: RmsNorm<B>,
    /// Self-attention.
    pub self_attn: SelfAttention<B>,
    /// The norm before the feed-forward.
    pub post_attention_layernorm: RmsNorm<B>,
    /// The feed-forward.
    pub mlp: FeedForward<B>,
}

impl<B: Backend> DecoderLayer<B> {
    /// A layer whose parameters wait for a loader.
    pub fn uninitialized(config: &TextEncoderConfig, at: &Builder<B>) -> Self {
        let norm = |name| at.rms_norm(name, config.hidden_size, config.rms_norm_eps);
        Self {
            input_layernorm: norm("input_layernorm"),
            self_attn: SelfAttention::uninitialized(config, &at.at("self_attn")),
            post_attention_layernorm: norm("post_attention_layernorm"),
            mlp: FeedForward::uninitialized(config, &at.at("mlp")),
        }
    }
}

impl<B: ModelBackend> DecoderLayer<B> {
    /// Float `[batch, tokens, hidden_size]` to the same.
    pub fn forward(&self, x: Tensor<B, 3>, rotary: &RotaryTable<B>) -> Tensor<B, 3> {
        let attended = self
            .self_attn
            .forward(self.input_layernorm.forward(x.clone()), rotary);
        let x = x + attended;
        let fed = self
            .mlp
            .forward(self.post_attention_layernorm.forward(x.clone()));
        x + fed
    }
}

/// SwiGLU (Shazeer, "GLU Variants Improve Transformer", 2020), without biases.
#[derive(Module, Debug)]
pub struct FeedForward<B: Backend> {
    /// The branch that goes through SiLU.
    pub gate_proj: Linear<B>,
    /// The branch that it multiplies.
    pub up_proj: Linear<B>,
    /// The projection back to the residual stream.
    pub down_proj: Linear<B>,
}

impl<B: Backend> FeedForward<B> {
    /// A feed-forward whose parameters wait for a loader.
    pub fn uninitialized(config: &TextEncoderConfig, at: &Builder<B>) -> Self {
        let (hidden, inner) = (config.hidden_size, config.intermediate_size);
        Self {
            gate_proj: at.linear("gate_proj", hidden, inner, false),
            up_proj: at.linear("up_proj", hidden, inner, false),
            down_proj: at.linear("down_proj", inner, hidden, false),
        }
    }
}

impl<B: ModelBackend> FeedForward<B> {
    /// Float `[batch, tokens, hidden_size]` to the same.
    pub fn forward(&self, x: Tensor<B, 3>) -> Tensor<B, 3> {
        let gate = self.gate_proj.forward(x.clone());
        let up = self.up_proj.forward(x);
        self.down_proj.forward(silu_mul(gate, up))
    }
}
