//! Latents as a small image, without the VAE.
//!
//! A latent pixel stands for 8 x 8 pixels, and a linear map of its channels gives about their mean
//! colour: good enough to see what an image will be, at the cost of a few thousand
//! multiplications.

use serde::Deserialize;
use serde_json::Value;

use crate::config::{ConfigError, parse, require};
use crate::latents::{PATCH, TokenGrid};

/// The published VAE's factors, which it shares with Wan 2.1's: ComfyUI's `latent_rgb_factors` of
/// the latent format `Wan21`.
const WAN21_FACTORS: [[f32; 3]; 16] = [
    [-0.1299, -0.1692, 0.2932],
    [0.0671, 0.0406, 0.0442],
    [0.3568, 0.2548, 0.1747],
    [0.0372, 0.2344, 0.1420],
    [0.0313, 0.0189, -0.0328],
    [0.0296, -0.0956, -0.0665],
    [-0.3477, -0.4059, -0.2925],
    [0.0166, 0.1902, 0.1975],
    [-0.0412, 0.0267, -0.1364],
    [-0.1293, 0.0740, 0.1636],
    [0.0680, 0.3019, 0.1128],
    [0.0032, 0.0581, 0.0639],
    [-0.1251, 0.0927, 0.1699],
    [0.0060, -0.0633, 0.0005],
    [0.3477, 0.2275, 0.2950],
    [0.1984, 0.0913, 0.1861],
];
const WAN21_BIAS: [f32; 3] = [-0.1835, -0.0868, -0.3360];

const MODEL: &str = "VAE";

/// A linear map from the channels of normalised latents to colours in [-1, 1].
#[derive(Clone, Debug, PartialEq)]
pub struct LatentRgb {
    factors: Vec<[f32; 3]>,
    bias: [f32; 3],
}

/// The fields of a VAE's config that are read for it.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Partial {
    latent_rgb_factors: Option<Vec<[f32; 3]>>,
    latent_rgb_bias: Option<[f32; 3]>,
}

impl LatentRgb {
    /// The map for a VAE with `channels` latent channels: `latent_rgb_factors` (red, green and blue
    /// of each channel) and `latent_rgb_bias` of its config, or the published VAE's if it has as many
    /// channels.
    ///
    /// # Errors
    /// The factors are for another number of channels, or there are none for this number.
    pub fn resolve(config: Option<&Value>, channels: usize) -> Result<Self, ConfigError> {
        let partial: Partial = parse(MODEL, config)?;
        let map = match partial.latent_rgb_factors {
            Some(factors) => Self {
                factors,
                bias: partial.latent_rgb_bias.unwrap_or_default(),
            },
            None => Self {
                factors: WAN21_FACTORS.to_vec(),
                bias: WAN21_BIAS,
            },
        };
        require(
            MODEL,
            "latent_rgb_factors",
            map.factors.len() == channels,
            "must be there for a preview, three numbers for each latent channel",
        )?;
        Ok(map)
    }

    /// The colours of tokens `[tokens, channels * 4]`, which [`pack`](crate::latents::pack) makes:
    /// planes `[3, height, width]` of the grid's latent pixels, in about [-1, 1]. The result is
    /// `None` for tokens of another number or size.
    pub fn planes(&self, tokens: &[f32], grid: TokenGrid) -> Option<Vec<f32>> {
        let features = self.factors.len() * PATCH * PATCH;
        if tokens.len() != grid.tokens() * features {
            return None;
        }
        let width = grid.width * PATCH;
        let area = grid.height * PATCH * width;
        let mut planes = vec![0.0; 3 * area];
        for (index, token) in tokens.chunks_exact(features).enumerate() {
            let (row, column) = (index / grid.width, index % grid.width);
            for place in 0..PATCH * PATCH {
                let (dy, dx) = (place / PATCH, place % PATCH);
                let pixel = (row * PATCH + dy) * width + column * PATCH + dx;
                let channels = token.iter().skip(place).step_by(PATCH * PATCH);
                let mut colour = self.bias;
                for (value, factors) in channels.zip(&self.factors) {
                    for (sum, factor) in colour.iter_mut().zip(factors) {
                        *sum += value * factor;
                    }
                }
                for (plane, value) in colour.into_iter().enumerate() {
                    planes[plane * area + pixel] = value;
                }
            }
        }
        Some(planes)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::{LatentRgb, WAN21_BIAS, WAN21_FACTORS};
    use crate::latents::TokenGrid;

    #[test]
    fn a_config_states_factors_or_the_published_ones_count() {
        let published = LatentRgb::resolve(None, 16).unwrap();
        assert_eq!(published.factors, WAN21_FACTORS);
        assert_eq!(published.bias, WAN21_BIAS);
        let other = json!({"z_dim": 16, "base_dim": 12});
        assert_eq!(LatentRgb::resolve(Some(&other), 16).unwrap(), published);
        let own = json!({"latent_rgb_factors": [[1, 2, 3], [4, 5, 6]]});
        let own = LatentRgb::resolve(Some(&own), 2).unwrap();
        assert_eq!(own.factors, [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]);
        assert_eq!(own.bias, [0.0; 3]);
        for (config, channels) in [
            (json!({}), 4),
            (json!({"latent_rgb_factors": [[1, 2, 3]]}), 2),
            (json!({"latent_rgb_factors": [[1, 2]]}), 1),
        ] {
            assert!(LatentRgb::resolve(Some(&config), channels).is_err());
        }
    }

    #[test]
    fn a_latent_pixel_becomes_the_colour_at_its_place() {
        let map = LatentRgb {
            factors: vec![[1.0, 0.0, 0.5], [0.0, 10.0, 0.0]],
            bias: [0.25, 0.0, 0.0],
        };
        // Two tokens in a row, two channels of four places each.
        let grid = TokenGrid {
            height: 1,
            width: 2,
        };
        let first = [0.0, 1.0, 2.0, 3.0, 0.1, 0.2, 0.3, 0.4];
        let second = [4.0, 5.0, 6.0, 7.0, 0.5, 0.6, 0.7, 0.8];
        let planes = map.planes(&[first, second].concat(), grid).unwrap();
        assert_eq!(
            planes[..8],
            [0.25, 1.25, 4.25, 5.25, 2.25, 3.25, 6.25, 7.25]
        );
        assert_eq!(planes[8..16], [1.0, 2.0, 5.0, 6.0, 3.0, 4.0, 7.0, 8.0]);
        assert_eq!(planes[16..], [0.0, 0.5, 2.0, 2.5, 1.0, 1.5, 3.0, 3.5]);
        assert_eq!(map.planes(&first, grid), None);
    }
}
