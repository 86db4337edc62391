//! The decoder of Qwen-Image's variational autoencoder, which is Wan 2.1's video VAE (Team Wan,
//! arXiv 2503.20314) with a decoder of its own.
//!
//! For a single frame, every causal 3-D convolution sees two frames of zeros and then the
//! frame, so only the last temporal slice of its kernel matters: here they are 2-D
//! convolutions of that slice. The convolutions over time alone are never run.

mod attention;
mod conv;
mod decoder;
pub(crate) mod levels;
mod norm;
mod resnet;
mod tiling;
mod upsample;

pub use attention::AttentionBlock;
pub use conv::Conv;
pub use decoder::{Decoder, MidBlock, UpBlock};
pub use norm::ChannelNorm;
pub use resnet::ResidualBlock;
pub use tiling::Tiling;
pub use upsample::Upsample;

use backends::ModelBackend;
use burn::module::Module;
use burn::tensor::backend::Backend;
use burn::tensor::{DType, Tensor, TensorData};

use crate::builder::Builder;
use crate::config::VaeConfig;

/// Image pixels along the side of a latent pixel.
pub const SCALE: usize = 8;

/// From latents to pixels.
#[derive(Module, Debug)]
pub struct VaeDecoder<B: Backend> {
    /// A linear map of the latent channels.
    pub post_quant_conv: Conv<B>,
    /// The decoder proper.
    pub decoder: Decoder<B>,
    mean: Statistics,
    std: Statistics,
}

/// One number for each latent channel.
#[derive(Clone, Debug)]
struct Statistics(Vec<f32>);

impl<B: Backend> VaeDecoder<B> {
    /// A decoder whose parameters wait for a loader.
    pub fn uninitialized(config: &VaeConfig, root: &Builder<B>) -> Self {
        let single = |values: &[f64]| Statistics(values.iter().map(|&v| v as f32).collect());
        Self {
            post_quant_conv: Conv::pointwise(config.z_dim, config.z_dim, root),
            decoder: Decoder::uninitialized(config, root),
            mean: single(&config.latents_mean),
            std: single(&config.latents_std),
        }
    }
}

impl<B: ModelBackend> VaeDecoder<B> {
    /// Latents f32 `[batch, z_dim, h, w]`, as the transformer leaves them, to pixels f32
    /// `[batch, 3, 8h, 8w]` in `[-1, 1]`.
    ///
    /// With tiles, the feature maps of full resolution never exist as a whole; see [`Tiling`].
    /// `cancelled` is asked before each level and each tile; once it says so, there is no
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
        let device = latents.device();
        let channels = |values: Vec<f32>| {
            let shape = [1, values.len(), 1, 1];
            Tensor::<B, 4>::from_data(TensorData::new(values, shape), (&device, DType::F32))
        };
        // The reference multiplies by the reciprocal of a reciprocal; so must we.
        let std = self.std.0.iter().map(|std| 1.0 / std).collect();
        latents / channels(std) + channels(self.mean.0.clone())
    }
}
