//! One block: joint attention and a feed-forward for each stream, modulated by the noise level
//! (adaLN-Zero; Peebles & Xie, "Scalable Diffusion Models with Transformers", 2022).

use backends::{Activation, Chain, ModelBackend};
use burn::module::Module;
use burn::tensor::Tensor;
use burn::tensor::backend::Backend;

use super::attention::JointAttention;
use super::residual::Residual;
use super::rope::JointRotary;
use super::split;
use super::streams::{JointLayout, Streams};
use crate::builder::Builder;
use crate::config::TransformerConfig;
use crate::linear::Linear;

/// A transformer block over the image and text streams of all branches.
#[derive(Module, Debug)]
pub struct TransformerBlock<B: Backend> {
    /// Modulation of the image stream (`img_mod.1` in checkpoints).
    pub img_mod: Linear<B>,
    /// Modulation of the text stream (`txt_mod.1` in checkpoints).
    pub txt_mod: Linear<B>,
    /// Joint attention.
    pub attn: JointAttention<B>,
    /// Feed-forward of the image stream.
    pub img_mlp: FeedForward<B>,
    /// Feed-forward of the text stream.
    pub txt_mlp: FeedForward<B>,
}

impl<B: Backend> TransformerBlock<B> {
    /// A block whose parameters wait for a loader.
    pub fn uninitialized(config: &TransformerConfig, at: &Builder<B>) -> Self {
        let inner = config.inner_dim();
        Self {
            img_mod: at.linear("img_mod.1", inner, 6 * inner, true),
            txt_mod: at.linear("txt_mod.1", inner, 6 * inner, true),
            attn: JointAttention::uninitialized(config, &at.at("attn")),
            img_mlp: FeedForward::uninitialized(inner, &at.at("img_mlp")),
            txt_mlp: FeedForward::uninitialized(inner, &at.at("txt_mlp")),
        }
    }
}

impl<B: ModelBackend> TransformerBlock<B> {
    /// How noise levels modulate the streams: `temb`, float `[1, levels, channels]` after SiLU, to
    /// float `[1, levels, 6 * channels]`.
    pub fn modulation(&self, temb: Tensor<B, 3>) -> Streams<Tensor<B, 3>> {
        Streams {
            image: self.img_mod.forward(temb.clone()),
            text: self.txt_mod.forward(temb),
        }
    }

    /// * `streams`: in the dtype to compute in; so is the result.
    /// * `modulation`: of one level, see [`modulation`](Self::modulation). All branches are at the
    ///   same level, so that one modulation serves them all.
    pub fn forward(
        &self,
        streams: Streams<Residual<B>>,
        modulation: Streams<Tensor<B, 3>>,
        layout: &JointLayout,
        rotary: &JointRotary<B>,
    ) -> Streams<Residual<B>> {
        let [image_attn, image_mlp] = Modulation::pair(modulation.image);
        let [text_attn, text_mlp] = Modulation::pair(modulation.text);
        let projections = self.attn.projections();
        let [(text, text_qkv), (image, image_qkv)] = Residual::through(
            [streams.text, streams.image],
            [&text_attn, &image_attn],
            [projections.text, projections.image],
        );
        let qkv = Streams {
            image: image_qkv,
            text: text_qkv,
        };
        let attended = self.attn.forward(qkv, layout, rotary);
        let image = image.add_gated_later(attended.image, image_attn.gate);
        let text = text.add_gated_later(attended.text, text_attn.gate);
        let [(text, [text_out]), (image, [image_out])] = Residual::through(
            [text, image],
            [&text_mlp, &image_mlp],
            [[self.txt_mlp.chain()], [self.img_mlp.chain()]],
        );
        Streams {
            image: image.add_gated(image_out, image_mlp.gate),
            text: text.add_gated(text_out, text_mlp.gate),
        }
    }
}

/// What the noise level does to one sub-layer; each is float `[1, 1, channels]`.
#[derive(Clone, Debug)]
pub struct Modulation<B: Backend> {
    /// Added to the normalised input.
    pub shift: Tensor<B, 3>,
    /// Multiplies the normalised input, as `1 + scale`.
    pub scale: Tensor<B, 3>,
    /// Multiplies the output.
    pub gate: Tensor<B, 3>,
}

impl<B: Backend> Modulation<B> {
    /// The modulations of attention and feed-forward, from `[1, 1, 6 * channels]`.
    fn pair(x: Tensor<B, 3>) -> [Self; 2] {
        split::<B, 2>(x).map(|half| {
            let [shift, scale, gate] = split(half);
            Self { shift, scale, gate }
        })
    }
}

/// Two linear layers with the tanh form of GELU between them.
#[derive(Module, Debug)]
pub struct FeedForward<B: Backend> {
    /// To the inner width (`net.0.proj` in checkpoints).
    pub net_0_proj: Linear<B>,
    /// Back (`net.2` in checkpoints).
    pub net_2: Linear<B>,
}

impl<B: Backend> FeedForward<B> {
    /// The inner width as a multiple of the outer one.
    const EXPANSION: usize = 4;

    /// A feed-forward whose parameters wait for a loader.
    pub fn uninitialized(channels: usize, at: &Builder<B>) -> Self {
        let inner = channels * Self::EXPANSION;
        Self {
            net_0_proj: at.linear("net.0.proj", channels, inner, true),
            net_2: at.linear("net.2", inner, channels, true),
        }
    }
}

impl<B: ModelBackend> FeedForward<B> {
    /// Its layers, as a stream goes through them.
    pub fn chain(&self) -> Chain<B> {
        Chain::new(self.net_0_proj.layer(Activation::GeluTanh))
            .then(self.net_2.layer(Activation::None))
    }
}
