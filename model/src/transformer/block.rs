//! One block: joint attention and a feed-forward for each stream, modulated by the noise level
//! (adaLN-Zero; Peebles & Xie, "Scalable Diffusion Models with Transformers", 2022).

use backends::{Activation, ModelBackend};
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
use crate::linear::{LayerInput, Linear};

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
        let rounded = self.attn.takes_rounded();
        let [(text, text_normed), (image, image_normed)] = Residual::normed(
            [streams.text, streams.image],
            [&text_attn, &image_attn],
            [rounded.text, rounded.image],
        );
        let normed = Streams {
            image: image_normed,
            text: text_normed,
        };
        let attended = self.attn.forward(normed, layout, rotary);
        let image = image.add_gated(attended.image, image_attn.gate);
        let text = text.add_gated(attended.text, text_attn.gate);
        let mlps = [&self.txt_mlp, &self.img_mlp];
        let [(text, text_normed), (image, image_normed)] = Residual::normed(
            [text, image],
            [&text_mlp, &image_mlp],
            mlps.map(FeedForward::takes_rounded),
        );
        let [text_out, image_out] = FeedForward::forward_both(mlps, [text_normed, image_normed]);
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
    /// Whether it needs nothing but rounded tokens.
    fn takes_rounded(&self) -> bool {
        self.net_0_proj.takes_rounded()
    }

    /// Those of two streams, which need nothing of each other: to float `[batch, tokens, channels]` of the
    /// same tokens.
    pub fn forward_both(mlps: [&Self; 2], streams: [LayerInput<B>; 2]) -> [Tensor<B, 3>; 2] {
        let layers = mlps.map(|mlp| &mlp.net_0_proj);
        let inner = Linear::forward_both(layers, streams, Activation::GeluTanh);
        let inner = inner.map(LayerInput::Exact);
        Linear::forward_both(mlps.map(|mlp| &mlp.net_2), inner, Activation::None)
    }
}
