//! Attention over image and text tokens together.

use backends::fp8::normed_joint_attention;
use backends::kernels::{NormedJointAttention, Rotation, Sequence};
use backends::{Activations, Arithmetic, ModelBackend};
use burn::module::Module;
use burn::tensor::Tensor;
use burn::tensor::backend::Backend;

use super::modulation::EPSILON;
use super::rope::JointRotary;
use super::streams::{JointLayout, Streams};
use crate::builder::Builder;
use crate::config::TransformerConfig;
use crate::linear::Linear;
use crate::norm::RmsNorm;
use crate::rotary::RotaryTable;

/// Joint attention: each stream has projections of its own, and all tokens of a branch see each
/// other.
#[derive(Module, Debug)]
pub struct JointAttention<B: Backend> {
    /// Queries of the image.
    pub to_q: Linear<B>,
    /// Keys of the image.
    pub to_k: Linear<B>,
    /// Values of the image.
    pub to_v: Linear<B>,
    /// Queries of the text.
    pub add_q_proj: Linear<B>,
    /// Keys of the text.
    pub add_k_proj: Linear<B>,
    /// Values of the text.
    pub add_v_proj: Linear<B>,
    /// Norm of the image's queries, head by head.
    pub norm_q: RmsNorm<B>,
    /// Norm of the image's keys.
    pub norm_k: RmsNorm<B>,
    /// Norm of the text's queries.
    pub norm_added_q: RmsNorm<B>,
    /// Norm of the text's keys.
    pub norm_added_k: RmsNorm<B>,
    /// Back to the image stream (`to_out.0` in checkpoints).
    pub to_out: Linear<B>,
    /// Back to the text stream.
    pub to_add_out: Linear<B>,
    /// Of the attention itself; the projections have their own.
    pub arithmetic: Arithmetic,
}

impl<B: Backend> JointAttention<B> {
    /// Attention whose parameters wait for a loader.
    pub fn uninitialized(config: &TransformerConfig, at: &Builder<B>) -> Self {
        let inner = config.inner_dim();
        let linear = |name| at.linear(name, inner, inner, true);
        let norm = |name| at.rms_norm(name, config.attention_head_dim, EPSILON);
        Self {
            to_q: linear("to_q"),
            to_k: linear("to_k"),
            to_v: linear("to_v"),
            add_q_proj: linear("add_q_proj"),
            add_k_proj: linear("add_k_proj"),
            add_v_proj: linear("add_v_proj"),
            norm_q: norm("norm_q"),
            norm_k: norm("norm_k"),
            norm_added_q: norm("norm_added_q"),
            norm_added_k: norm("norm_added_k"),
            to_out: linear("to_out.0"),
            to_add_out: linear("to_add_out"),
            arithmetic: Arithmetic::Exact,
        }
    }
}

impl<B: ModelBackend> JointAttention<B> {
    /// Computes what the tokens of each stream see, `[branches * tokens, channels]`: the input of
    /// the projections back.
    ///
    /// * `qkv`: queries, keys and values of each stream, float `[branches, tokens, channels]`.
    pub fn forward(
        &self,
        qkv: Streams<[Tensor<B, 3>; 3]>,
        layout: &JointLayout,
        rotary: &JointRotary<B>,
    ) -> Streams<Activations<B>> {
        let [text_q, text_k, text_v] = qkv.text.map(|x| heads(x, &self.norm_added_q));
        let [image_q, image_k, image_v] = qkv.image.map(|x| heads(x, &self.norm_q));
        let q = sequences(
            [text_q, image_q],
            [&self.norm_added_q, &self.norm_q],
            rotary,
        );
        let k = sequences(
            [text_k, image_k],
            [&self.norm_added_k, &self.norm_k],
            rotary,
        );
        let v = [text_v, image_v];
        let call = NormedJointAttention {
            q,
            k,
            v,
            lengths: &layout.text_lengths,
            rotation: Rotation::AdjacentPairs,
            epsilon: self.norm_q.epsilon,
            quantize_results: self.to_add_out.wants_quantized() && self.to_out.wants_quantized(),
        };
        let [text, image] = normed_joint_attention(call, self.arithmetic);
        Streams { image, text }
    }
}

/// Queries or keys of the text and of the image, before the norm of each head and the rotary
/// embedding.
fn sequences<B: ModelBackend>(
    [text, image]: [Tensor<B, 4>; 2],
    [text_norm, image_norm]: [&RmsNorm<B>; 2],
    rotary: &JointRotary<B>,
) -> [Sequence<B>; 2] {
    let sequence = |x, norm: &RmsNorm<B>, rotary: &RotaryTable<B>| Sequence {
        x,
        weight: norm.weight.val(),
        cos: rotary.cos.clone(),
        sin: rotary.sin.clone(),
    };
    [
        sequence(text, text_norm, &rotary.text),
        sequence(image, image_norm, &rotary.image),
    ]
}

/// `[batch, tokens, channels]` as `[batch, tokens, heads, head_dim]`, for heads as wide as the
/// norm that belongs to them.
fn heads<B: Backend>(x: Tensor<B, 3>, norm: &RmsNorm<B>) -> Tensor<B, 4> {
    let [batch, tokens, channels] = x.dims();
    let [head_dim] = norm.weight.lazy_shape().dims();
    x.reshape([batch, tokens, channels / head_dim, head_dim])
}
