//! Attention over image and text tokens together.

use backends::fused::{
    Rotation, Sequence, joint_attention, joint_attention_rounded, rms_norm_rotate_joined,
};
use backends::{Activation, Arithmetic, ModelBackend};
use burn::module::Module;
use burn::tensor::Tensor;
use burn::tensor::backend::Backend;

use super::EPSILON;
use super::rope::JointRotary;
use super::streams::{JointLayout, Streams};
use crate::builder::Builder;
use crate::config::TransformerConfig;
use crate::linear::{LayerInput, Linear};
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
        let norm = || at.rms_norm(config.attention_head_dim, EPSILON);
        Self {
            to_q: linear("to_q"),
            to_k: linear("to_k"),
            to_v: linear("to_v"),
            add_q_proj: linear("add_q_proj"),
            add_k_proj: linear("add_k_proj"),
            add_v_proj: linear("add_v_proj"),
            norm_q: norm(),
            norm_k: norm(),
            norm_added_q: norm(),
            norm_added_k: norm(),
            to_out: linear("to_out.0"),
            to_add_out: linear("to_add_out"),
            arithmetic: Arithmetic::Exact,
        }
    }
}

impl<B: ModelBackend> JointAttention<B> {
    /// Of each stream, whether its projections need nothing but rounded tokens.
    pub fn takes_rounded(&self) -> Streams<bool> {
        let all = |layers: [&Linear<B>; 3]| layers.into_iter().all(Linear::takes_rounded);
        Streams {
            image: all([&self.to_q, &self.to_k, &self.to_v]),
            text: all([&self.add_q_proj, &self.add_k_proj, &self.add_v_proj]),
        }
    }

    /// The streams to float tensors of the same tokens and channels.
    pub fn forward(
        &self,
        streams: Streams<LayerInput<B>>,
        layout: &JointLayout,
        rotary: &JointRotary<B>,
    ) -> Streams<Tensor<B, 3>> {
        const ROTATION: Rotation = Rotation::AdjacentPairs;
        let (lengths, epsilon) = (&layout.text_lengths, self.norm_q.epsilon);
        let projected = |streams: Streams<LayerInput<B>>, layers: [&Linear<B>; 2]| {
            let inputs = [streams.text, streams.image];
            let [text, image] = Linear::forward_both(layers, inputs, Activation::None);
            [heads(text, &self.norm_added_k), heads(image, &self.norm_k)]
        };
        let q = |streams| {
            let x = projected(streams, [&self.add_q_proj, &self.to_q]);
            sequences(x, [&self.norm_added_q, &self.norm_q], rotary)
        };
        let k = |streams| {
            let x = projected(streams, [&self.add_k_proj, &self.to_k]);
            sequences(x, [&self.norm_added_k, &self.norm_k], rotary)
        };
        let v = |streams| projected(streams, [&self.add_v_proj, &self.to_v]);
        let attended = match self.arithmetic {
            // Queries give way to their joint sequences before there are keys.
            Arithmetic::Exact => {
                let joined = |[text, image]: [Sequence<B>; 2]| {
                    rms_norm_rotate_joined(text, image, lengths, ROTATION, epsilon)
                };
                let q = joined(q(streams.clone()));
                let k = joined(k(streams.clone()));
                joint_attention(q, k, v(streams), lengths)
            }
            Arithmetic::Fp8 => {
                let (q, k) = (q(streams.clone()), k(streams.clone()));
                joint_attention_rounded(q, k, v(streams), lengths, ROTATION, epsilon)
            }
        };
        let attended = attended.map(|tokens| LayerInput::Exact(tokens.flatten::<3>(2, 3)));
        let layers = [&self.to_add_out, &self.to_out];
        let [text, image] = Linear::forward_both(layers, attended, Activation::None);
        Streams { image, text }
    }
}

/// Queries or keys of the text and of the image, to be normalised head by head and turned by their
/// tokens' angles.
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
