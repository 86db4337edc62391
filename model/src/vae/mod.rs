//! Qwen-Image's variational autoencoder, which is Wan 2.1's video VAE (Team Wan, arXiv 2503.20314)
//! with a decoder of its own. Encoder and decoder are two modules, each loaded when it is needed.
//!
//! For a single frame, every causal 3-D convolution sees two frames of zeros and then the
//! frame, so only the last temporal slice of its kernel matters: here they are 2-D
//! convolutions of that slice. The convolutions over time alone are never run.

mod attention;
mod conv;
mod decoder;
mod downsample;
mod encoder;
pub(crate) mod ladder;
mod norm;
mod posterior;
mod resnet;
pub(crate) mod stages;
mod statistics;
pub(crate) mod tiling;
mod upsample;

pub use attention::AttentionBlock;
pub use conv::Conv;
pub use decoder::{Decoder, MidBlock, UpBlock};
pub use downsample::Downsample;
pub use encoder::{DownBlock, Encoder};
pub use norm::ChannelNorm;
pub use posterior::Posterior;
pub use resnet::ResidualBlock;
pub use tiling::Tiling;
pub use upsample::Upsample;

use backends::ModelBackend;
use burn::module::Module;
use burn::tensor::Tensor;
use burn::tensor::backend::Backend;

use crate::builder::Builder;
use crate::config::VaeConfig;
use statistics::Statistics;

/// Image pixels along the side of a latent pixel.
pub const SCALE: usize = 8;

/// The VAE's half that makes pixels of latents.
#[derive(Module, Debug)]
pub struct VaeDecoder<B: Backend> {
    /// A linear map of the latent channels.
    pub post_quant_conv: Conv<B>,
    /// The decoder proper.
    pub decoder: Decoder<B>,
    statistics: Statistics,
}

impl<B: Backend> VaeDecoder<B> {
    /// A decoder whose parameters wait for a loader.
    pub fn uninitialized(config: &VaeConfig, root: &Builder<B>) -> Self {
        Self {
            post_quant_conv: Conv::pointwise(
                config.z_dim,
                config.z_dim,
                &root.at("post_quant_conv"),
            ),
            decoder: Decoder::uninitialized(config, &root.at("decoder")),
            statistics: Statistics::of(config),
        }
    }
}

impl<B: ModelBackend> VaeDecoder<B> {
    /// Latents f32 `[batch, z_dim, h, w]`, as the transformer leaves them, to pixels f32
    /// `[batch, 3, 8h, 8w]` in `[-1, 1]`.
    ///
    /// With tiles, the feature maps of full resolution never exist as a whole; see [`Tiling`].
    /// `cancelled` is asked before each stage and each tile; once it says so, there is no
    /// result.
    pub fn decode(
        &self,
        latents: Tensor<B, 4>,
        tiling: Tiling,
        cancelled: &dyn Fn() -> bool,
    ) -> Option<Tensor<B, 4>> {
        let x = self.post_quant_conv.forward(self.denormalise(latents));
        Some(self.decoder.forward(x, tiling, cancelled)?.clamp(-1.0, 1.0))
    }

    /// Undoes the normalisation of the latents: `x * std + mean`, channel by channel.
    pub fn denormalise(&self, latents: Tensor<B, 4>) -> Tensor<B, 4> {
        self.statistics.denormalise(latents)
    }
}

/// The VAE's half that makes latents of pixels.
#[derive(Module, Debug)]
pub struct VaeEncoder<B: Backend> {
    /// The encoder proper.
    pub encoder: Encoder<B>,
    /// A linear map of the posterior's moments.
    pub quant_conv: Conv<B>,
    statistics: Statistics,
}

impl<B: Backend> VaeEncoder<B> {
    /// An encoder whose parameters wait for a loader.
    pub fn uninitialized(config: &VaeConfig, root: &Builder<B>) -> Self {
        let moments = 2 * config.z_dim;
        Self {
            encoder: Encoder::uninitialized(config, &root.at("encoder")),
            quant_conv: Conv::pointwise(moments, moments, &root.at("quant_conv")),
            statistics: Statistics::of(config),
        }
    }
}

impl<B: ModelBackend> VaeEncoder<B> {
    /// Pixels f32 `[batch, 3, 8h, 8w]` in `[-1, 1]`, with `h` and `w` even, to the posterior over
    /// latents.
    ///
    /// With tiles, the feature maps of full resolution never exist as a whole; see [`Tiling`].
    /// `cancelled` is asked before each stage and each tile; once it says so, there is no
    /// result.
    pub fn encode(
        &self,
        pixels: Tensor<B, 4>,
        tiling: Tiling,
        cancelled: &dyn Fn() -> bool,
    ) -> Option<Posterior<B>> {
        let x = self.encoder.forward(pixels, tiling, cancelled)?;
        let moments = self.quant_conv.forward(x);
        Some(Posterior::new(moments, self.statistics.clone()))
    }
}
