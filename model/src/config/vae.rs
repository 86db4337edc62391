//! Sizes of the variational autoencoder.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    ConfigError, Shapes, agree, count, dimension, not_cut_short, require, supported, usual,
    usual_dimension, usual_dimension_in,
};

const MODEL: &str = "VAE";

/// The model's class in diffusers, and the class of the video model that it is a copy of.
const CLASSES: [&str; 2] = ["AutoencoderKLQwenImage", "AutoencoderKLWan"];

/// The list of the decoder's stages, from the smallest resolution up.
const STAGES: &str = "decoder.up_blocks";

/// Tensors by which a stage is known.
const OF_A_STAGE: [&str; 4] = [
    "resnets.0.conv1.weight",
    "resnets.0.conv2.weight",
    "resnets.1.conv1.weight",
    "resnets.1.conv2.weight",
];

/// Tensors by which a residual block is known. The first axis of each has as many elements as its
/// stage has channels.
const OF_A_RESNET: [&str; 4] = ["conv1.weight", "conv2.weight", "conv1.bias", "conv2.bias"];

/// Means of the published VAE's latent channels.
const LATENTS_MEAN: [f64; 16] = [
    -0.7571, -0.7089, -0.9113, 0.1075, -0.1745, 0.9653, -0.1517, 1.5508, 0.4134, -0.0715, 0.5517,
    -0.3632, -0.1922, -0.9497, 0.2503, -0.2921,
];

/// Standard deviations of the published VAE's latent channels.
const LATENTS_STD: [f64; 16] = [
    2.8184, 1.4541, 2.3275, 2.6558, 1.2196, 1.7708, 2.6052, 2.0743, 3.2687, 2.1526, 2.8652, 1.5579,
    1.6382, 1.1253, 2.8251, 1.916,
];

/// Sizes of the VAE, by the names of diffusers' `AutoencoderKLQwenImage`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct VaeConfig {
    /// Channels at full resolution.
    pub base_dim: usize,
    /// Latent channels.
    pub z_dim: usize,
    /// Channels of each resolution as multiples of `base_dim`, from full resolution down.
    pub dim_mult: Vec<usize>,
    /// Residual blocks of each resolution on the way down; the way up has one more.
    pub num_res_blocks: usize,
    /// Mean of each latent channel.
    pub latents_mean: Vec<f64>,
    /// Standard deviation of each latent channel.
    pub latents_std: Vec<f64>,
}

/// The fields of a config, all of them optional.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Partial {
    base_dim: Option<usize>,
    z_dim: Option<usize>,
    dim_mult: Option<Vec<usize>>,
    num_res_blocks: Option<usize>,
    latents_mean: Option<Vec<f64>>,
    latents_std: Option<Vec<f64>>,
    input_channels: Option<usize>,
    #[serde(rename = "_class_name")]
    class: Option<String>,
    attn_scales: Option<Vec<f64>>,
    temperal_downsample: Option<Vec<bool>>,
    // Of `AutoencoderKLWan`, which Qwen-Image's VAE is a copy of.
    in_channels: Option<usize>,
    out_channels: Option<usize>,
    decoder_base_dim: Option<usize>,
    is_residual: Option<bool>,
    patch_size: Option<usize>,
}

impl Partial {
    /// Refuses fields that would change the image and are not implemented. The stages that also
    /// halve the time (`temperal_downsample`) and dropout have no effect on a single frame.
    fn check(&self) -> Result<(), ConfigError> {
        let class = self.class.as_deref().unwrap_or(CLASSES[0]);
        let why = "it is another model";
        supported(MODEL, "_class_name", class, CLASSES.contains(&class), why)?;
        let scales = self.attn_scales.as_ref();
        let none = scales.is_none_or(Vec::is_empty);
        let why = "only the smallest resolution has attention";
        supported(MODEL, "attn_scales", "a list", none, why)?;
        let stages = self.temperal_downsample.as_ref().map_or(3, Vec::len);
        let why = "the VAE halves the image 3 times";
        let of_stages = format!("a list of {stages}");
        supported(MODEL, "temperal_downsample", of_stages, stages == 3, why)?;
        for (field, channels) in [
            ("in_channels", self.in_channels),
            ("out_channels", self.out_channels),
        ] {
            let channels = channels.unwrap_or(3);
            supported(MODEL, field, channels, channels == 3, "images have 3")?;
        }
        let width = self.decoder_base_dim.or(self.base_dim);
        let why = "the decoder is as wide as the encoder";
        let same = width == self.base_dim;
        supported(MODEL, "decoder_base_dim", width.unwrap_or(0), same, why)?;
        let residual = self.is_residual.unwrap_or(false);
        supported(
            MODEL,
            "is_residual",
            residual,
            !residual,
            "Wan 2.1's VAE is",
        )?;
        let patch = self.patch_size.unwrap_or(1);
        supported(
            MODEL,
            "patch_size",
            patch,
            patch == 1,
            "Wan 2.1's VAE has none",
        )
    }
}

impl VaeConfig {
    /// The published model's sizes (Qwen/Qwen-Image, `vae/config.json`).
    pub fn published() -> Self {
        Self {
            base_dim: 96,
            z_dim: 16,
            dim_mult: vec![1, 2, 4, 4],
            num_res_blocks: 2,
            latents_mean: LATENTS_MEAN.to_vec(),
            latents_std: LATENTS_STD.to_vec(),
        }
    }

    /// The sizes from a config, where there is one, and the file's shapes.
    ///
    /// # Errors
    /// The two disagree, neither tells, or they describe no VAE of this kind.
    pub fn resolve(config: Option<&Value>, shapes: Shapes) -> Result<Self, ConfigError> {
        let partial: Partial = super::parse(MODEL, config)?;
        partial.check()?;
        require(
            MODEL,
            "input_channels",
            partial.input_channels.is_none_or(|channels| channels == 3)
                && dimension(shapes, "decoder.conv_out.weight", 0).is_none_or(|out| out == 3),
            "must be 3: images with an alpha channel are not supported",
        )?;
        let stages = count(shapes, STAGES, &OF_A_STAGE);
        let resnets_of = |stage| format!("{STAGES}.{stage}.resnets");
        let resnets: Vec<usize> = (0..stages)
            .map(|stage| count(shapes, &resnets_of(stage), &OF_A_RESNET))
            .collect();
        let widths: Option<Vec<usize>> = (0..stages)
            .rev()
            .map(|stage| {
                let list = resnets_of(stage);
                let tensors = OF_A_RESNET.iter();
                usual(tensors.filter_map(|tensor| {
                    usual_dimension_in(shapes, &list, resnets[stage], tensor, 0)
                }))
            })
            .collect();
        let widths = widths.filter(|widths| !widths.is_empty());
        let full = widths.as_ref().and_then(|widths| widths.first().copied());
        // A multiple of 1 at full resolution is the only choice that shapes alone can show.
        let first = partial
            .dim_mult
            .as_ref()
            .and_then(|mult| mult.first().copied())
            .unwrap_or(1);
        require(MODEL, "dim_mult", first > 0, "must be positive")?;
        let base_dim = agree(
            MODEL,
            "base_dim",
            partial.base_dim,
            full.map(|width| width / first),
        )?;
        require(MODEL, "base_dim", base_dim > 0, "must be positive")?;
        let dim_mult = agree(
            MODEL,
            "dim_mult",
            partial.dim_mult,
            widths.map(|widths| widths.iter().map(|width| width / base_dim).collect()),
        )?;
        let z_dim = agree(
            MODEL,
            "z_dim",
            partial.z_dim,
            usual_dimension(
                shapes,
                &[
                    ("post_quant_conv.weight", 0),
                    ("post_quant_conv.bias", 0),
                    ("decoder.conv_in.weight", 1),
                ],
            ),
        )?;
        let published = z_dim == LATENTS_MEAN.len();
        let resnets = usual(resnets.into_iter()).and_then(|resnets| resnets.checked_sub(1));
        let sizes = Self::published();
        let full_size = published && base_dim == sizes.base_dim && dim_mult == sizes.dim_mult;
        not_cut_short(
            MODEL,
            ("residual blocks of a resolution", "num_res_blocks"),
            partial.num_res_blocks,
            resnets.unwrap_or(0),
            full_size.then_some(sizes.num_res_blocks),
        )?;
        let resolved = Self {
            base_dim,
            z_dim,
            dim_mult,
            num_res_blocks: agree(MODEL, "num_res_blocks", partial.num_res_blocks, resnets)?,
            latents_mean: agree(
                MODEL,
                "latents_mean",
                partial
                    .latents_mean
                    .or(published.then(|| LATENTS_MEAN.to_vec())),
                None,
            )?,
            latents_std: agree(
                MODEL,
                "latents_std",
                partial
                    .latents_std
                    .or(published.then(|| LATENTS_STD.to_vec())),
                None,
            )?,
        };
        require(
            MODEL,
            "latents_mean",
            resolved.latents_mean.len() == z_dim,
            "must have z_dim values",
        )?;
        require(
            MODEL,
            "latents_std",
            resolved.latents_std.len() == z_dim && resolved.latents_std.iter().all(|&s| s > 0.0),
            "must have z_dim positive values",
        )?;
        require(
            MODEL,
            "dim_mult",
            resolved.dim_mult.len() == 4,
            "must have 4 values: the VAE halves the image 3 times",
        )?;
        Ok(resolved)
    }

    /// Channels of the encoder's stages: at its first convolution, then at each resolution.
    pub fn encoder_widths(&self) -> Vec<usize> {
        std::iter::once(1)
            .chain(self.dim_mult.iter().copied())
            .map(|multiple| multiple * self.base_dim)
            .collect()
    }

    /// Channels of the decoder's stages: at its first convolution, then after each up block.
    pub fn decoder_widths(&self) -> Vec<usize> {
        let last = self.dim_mult.last().copied();
        last.into_iter()
            .chain(self.dim_mult.iter().rev().copied())
            .map(|multiple| multiple * self.base_dim)
            .collect()
    }
}
