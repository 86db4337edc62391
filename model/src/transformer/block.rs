//! One block: joint attention and a feed-forward for each stream, modulated by the noise level
//! (adaLN-Zero; Peebles & Xie, "Scalable Diffusion Models with Transformers", 2022).

use backends::{Activation, Activations, ModelBackend};
use burn::module::Module;
use burn::tensor::Tensor;
use burn::tensor::backend::Backend;

use super::attention::JointAttention;
use super::modulation::Modulation;
use super::residual::Residual;
use super::rope::JointRotary;
use super::streams::{JointLayout, Streams};
use crate::builder::Builder;
use crate::config::TransformerConfig;
use crate::linear::Linear;

/// A transformer block over the image and text streams of all branches, without the layers that
/// modulate it.
#[derive(Module, Debug)]
pub struct TransformerBlock<B: Backend> {
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
            attn: JointAttention::uninitialized(config, &at.at("attn")),
            img_mlp: FeedForward::uninitialized(inner, &at.at("img_mlp")),
            txt_mlp: FeedForward::uninitialized(inner, &at.at("txt_mlp")),
        }
    }
}

impl<B: ModelBackend> TransformerBlock<B> {
    /// * `streams`: in the dtype to compute in; so is the result.
    /// * `modulation`: that of one timestep, float `[1, 1, 6 * channels]`; see
    ///   [`BlockModulation`](super::BlockModulation). All branches are at the same timestep, so that
    ///   one modulation serves them all.
    pub fn forward(
        &self,
        streams: Streams<Residual<B>>,
        modulation: Streams<Tensor<B, 3>>,
        layout: &JointLayout,
        rotary: &JointRotary<B>,
    ) -> Streams<Residual<B>> {
        let image = Stream {
            qkv: [&self.attn.to_q, &self.attn.to_k, &self.attn.to_v],
            out: &self.attn.to_out,
            mlp: &self.img_mlp,
            modulation: Modulation::pair(modulation.image),
        };
        let text = Stream {
            qkv: [
                &self.attn.add_q_proj,
                &self.attn.add_k_proj,
                &self.attn.add_v_proj,
            ],
            out: &self.attn.to_add_out,
            mlp: &self.txt_mlp,
            modulation: Modulation::pair(modulation.text),
        };
        // The streams meet only in the attention; a GPU computes the text's few tokens beside the image's.
        let ((text_x, text_qkv), (image_x, image_qkv)) = B::concurrently(
            || text.project(streams.text),
            || image.project(streams.image),
        );
        let qkv = Streams {
            image: image_qkv,
            text: text_qkv,
        };
        let attended = self.attn.forward(qkv, layout, rotary);
        let (text, image) = B::concurrently(
            || text.add_attention_and_mlp(text_x, attended.text),
            || image.add_attention_and_mlp(image_x, attended.image),
        );
        Streams { image, text }
    }
}

/// What one stream goes through:
///
/// ```text
/// q, k, v = linear(norm(x) * (1 + scale) + shift)
/// x = x + gate * linear(attention(q, k, v))
/// x = x + gate * mlp(norm(x) * (1 + scale) + shift)
/// ```
///
/// with a shift, a scale and a gate for each half.
struct Stream<'a, B: Backend> {
    qkv: [&'a Linear<B>; 3],
    out: &'a Linear<B>,
    mlp: &'a FeedForward<B>,
    /// The modulations of attention and feed-forward.
    modulation: [Modulation<B>; 2],
}

impl<B: ModelBackend> Stream<'_, B> {
    /// The stream, and its queries, keys and values, float `[branches, tokens, channels]`.
    fn project(&self, x: Residual<B>) -> (Residual<B>, [Tensor<B, 3>; 3]) {
        let [modulation, _] = &self.modulation;
        let quantize = self.qkv.iter().all(|linear| linear.wants_quantized());
        let (x, y) = x.norm(modulation, quantize);
        let qkv = self
            .qkv
            .map(|linear| x.tokens(linear.multiply(y.clone(), Activation::None)));
        (x, qkv)
    }

    /// The stream with what attention and feed-forward add to it.
    ///
    /// * `attended`: what its tokens see, `[branches * tokens, channels]`.
    fn add_attention_and_mlp(&self, x: Residual<B>, attended: Activations<B>) -> Residual<B> {
        let [attn, mlp] = &self.modulation;
        let x = x.add(&attn.gate, self.out.multiply(attended, Activation::None));
        let (x, y) = x.norm(mlp, self.mlp.wants_quantized());
        x.add(&mlp.gate, self.mlp.forward(y))
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
    /// Rows `[rows, channels]` to float `[rows, channels]`.
    pub fn forward(&self, x: Activations<B>) -> Tensor<B, 2> {
        let inner = self.net_0_proj.multiply(x, Activation::GeluTanh);
        self.net_2
            .multiply(Activations::of(inner), Activation::None)
    }

    /// Tells whether the input is quantized before all else.
    fn wants_quantized(&self) -> bool {
        self.net_0_proj.wants_quantized()
    }
}

#[cfg(test)]
mod tests {
    use backends::{LowRank, Weight};
    use burn::module::Param;
    use burn_flex::Flex;

    use super::*;

    #[test]
    fn a_feed_forward_is_its_two_layers_with_gelu_between_them() {
        let device = Default::default();
        let layer = |weight, adapter| Linear::<Flex> {
            weight: Weight::Dense(Param::from_data(weight, &device)),
            bias: Some(Param::from_data([0.5, -0.5], &device)),
            adapter,
        };
        let mlp = FeedForward {
            net_0_proj: layer([[1.0, 2.0], [3.0, 4.0]], None),
            net_2: layer(
                [[2.0, -1.0], [0.5, 1.0]],
                Some(LowRank {
                    down: Tensor::from_floats([[1.0, 1.0]], &device),
                    up: Tensor::from_floats([[2.0], [0.0]], &device),
                }),
            ),
        };
        let x = Tensor::<Flex, 2>::from_floats([[1.0, -1.0], [0.5, 2.0]], &device);
        let inner = backends::fused::gelu_tanh(mlp.net_0_proj.forward(x.clone()));
        let expected = mlp.net_2.forward(inner);
        let found = mlp.forward(Activations::of(x));
        assert!((found - expected).abs().max().into_scalar() < 1e-6);
    }
}
