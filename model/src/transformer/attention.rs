//! Attention over image and text tokens together.

use backends::fp8::normed_joint_attention;
use backends::kernels::{NormedJointAttention, Rotation, Sequence};
use backends::{Activation, Arithmetic, Chain, ChainCall, Layer, ModelBackend};
use burn::module::Module;
use burn::tensor::Tensor;
use burn::tensor::backend::Backend;

use super::EPSILON;
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
    /// Of each stream, the projections to queries, keys and values.
    pub fn projections(&self) -> Streams<[Chain<B>; 3]> {
        let chains =
            |layers: [&Linear<B>; 3]| layers.map(|layer| Chain::new(layer.layer(Activation::None)));
        Streams {
            image: chains([&self.to_q, &self.to_k, &self.to_v]),
            text: chains([&self.add_q_proj, &self.add_k_proj, &self.add_v_proj]),
        }
    }

    /// Attention, and the projections back, which are left to be computed with what follows: each gives
    /// float `[batch * tokens, channels]` of the same tokens and channels.
    ///
    /// * `qkv`: of each stream, what its [`projections`](Self::projections) give.
    pub fn forward(
        &self,
        qkv: Streams<[Tensor<B, 3>; 3]>,
        layout: &JointLayout,
        rotary: &JointRotary<B>,
    ) -> Streams<ChainCall<B>> {
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
        let layers = [&self.to_add_out, &self.to_out].map(|out| out.layer(Activation::None));
        let rounded = layers.iter().all(Layer::takes_rounded);
        let call = NormedJointAttention {
            q,
            k,
            v,
            lengths: &layout.text_lengths,
            rotation: Rotation::AdjacentPairs,
            epsilon: self.norm_q.epsilon,
            quantize_results: rounded,
        };
        let attended = normed_joint_attention(call, self.arithmetic);
        let ([text, image], [text_out, image_out]) = (attended, layers.map(Chain::new));
        Streams {
            image: ChainCall {
                x: image,
                chain: image_out,
            },
            text: ChainCall {
                x: text,
                chain: text_out,
            },
        }
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
