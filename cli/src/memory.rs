//! Working memory: the bytes of activations and scratch that a phase needs at its peak beside its
//! model's weights.

use burn::tensor::FloatDType;
use model::{TextEncoderConfig, TransformerConfig, VaeConfig};

/// What the numbers are computed in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Numerics {
    /// Of the blocks' activations. Scores and the VAE are f32 whatever it is.
    pub(crate) dtype: FloatDType,
}

impl Numerics {
    /// Bytes of an activation.
    const fn activation(self) -> u64 {
        match self.dtype {
            FloatDType::BF16 | FloatDType::F16 => 2,
            FloatDType::F64 => 8,
            _ => F32,
        }
    }
}

/// How the VAE decodes an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tiling {
    /// In one piece.
    Whole,
    /// In squares of `side` image pixels.
    Tiles {
        /// Image pixels.
        side: usize,
    },
}

/// Bytes of an f32.
const F32: u64 = 4;

/// Working memory of encoding `tokens` tokens: the residual stream and a layer's queries, keys,
/// values and gated feed-forward, the attention scores and their softmax in f32, and one decoded
/// weight.
pub(crate) fn text_encoder(config: &TextEncoderConfig, tokens: usize, numerics: Numerics) -> u64 {
    let (tokens, hidden, inner) = (
        tokens as u64,
        config.hidden_size as u64,
        config.intermediate_size as u64,
    );
    let layer = tokens * (6 * hidden + 3 * inner);
    let scores = 2 * config.num_attention_heads as u64 * tokens * tokens;
    numerics.activation() * (layer + hidden * inner) + F32 * scores
}

/// Working memory of a step over image and text tokens: the residual stream, a block's
/// normalised input, queries, keys, values and attention output, the feed-forward's fourfold
/// inner width before and after its activation, and one decoded weight; and the latents, noise
/// and predictions in f32. With guidance the two passes of a step run one after the other.
pub(crate) fn transformer(
    config: &TransformerConfig,
    image_tokens: usize,
    text_tokens: usize,
    numerics: Numerics,
) -> u64 {
    let width = config.inner_dim() as u64;
    let (image, text) = (image_tokens as u64, text_tokens as u64);
    let block = (image + text) * width * 16 + 4 * width * width;
    let latents = 5 * image * config.in_channels as u64;
    let embeds = 2 * text * config.joint_attention_dim as u64;
    numerics.activation() * block + F32 * (latents + embeds)
}

/// Working memory of decoding an image. The last stage costs most: at full resolution, the input
/// of twice the base width, and the input, output and sum of a residual block. In tiles, it is
/// the stage before at half the resolution, one tile of the last stage, and the image.
pub(crate) fn vae_decoder(
    config: &VaeConfig,
    width: u32,
    height: u32,
    tiling: Tiling,
    _numerics: Numerics,
) -> u64 {
    /// Rows of pixels around a tile that its own depend on: two for each residual block's
    /// convolutions, and one each for the upsampler's and the last.
    const fn halo(config: &VaeConfig) -> u64 {
        2 * (config.num_res_blocks as u64 + 1) + 2
    }
    let pixels = u64::from(width) * u64::from(height);
    let base = config.base_dim as u64;
    match tiling {
        Tiling::Whole => F32 * 6 * base * pixels,
        Tiling::Tiles { side } => {
            let side = |whole: u32| u64::from(whole).min(side as u64 + 2 * halo(config));
            let before = 3 * base * pixels;
            let tile = 6 * base * side(width) * side(height);
            F32 * (before + tile + 3 * pixels)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Numerics, Tiling, text_encoder, transformer, vae_decoder};
    use crate::plan::tests::published;
    use burn::tensor::FloatDType;

    const BF16: Numerics = Numerics {
        dtype: FloatDType::BF16,
    };
    const SINGLE: Numerics = Numerics {
        dtype: FloatDType::F32,
    };

    #[test]
    fn half_the_bytes_are_at_most_half_the_memory() {
        let (encoder, denoiser, _) = published();
        for tokens in [1, 64, 546] {
            let (half, whole) = (
                text_encoder(&encoder, tokens, BF16),
                text_encoder(&encoder, tokens, SINGLE),
            );
            assert!(half < whole && 2 * half >= whole, "{tokens}");
            let (half, whole) = (
                transformer(&denoiser, 16 * tokens, tokens, BF16),
                transformer(&denoiser, 16 * tokens, tokens, SINGLE),
            );
            assert!(half < whole && 2 * half >= whole, "{tokens}");
        }
    }

    #[test]
    fn tiles_take_less_than_the_whole_and_smaller_ones_least() {
        let (_, _, vae) = published();
        let of = |tiling| vae_decoder(&vae, 1328, 1328, tiling, BF16);
        let whole = of(Tiling::Whole);
        let large = of(Tiling::Tiles { side: 512 });
        let small = of(Tiling::Tiles { side: 256 });
        assert!(
            small < large && large < whole,
            "{small} < {large} < {whole}"
        );
    }
}
