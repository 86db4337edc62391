//! Sizes of the diffusion transformer.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{ConfigError, Shapes, agree, count, dimension, require};

const MODEL: &str = "transformer";

/// Sizes of the diffusion transformer, by the names of diffusers'
/// `QwenImageTransformer2DModel`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TransformerConfig {
    /// Latent pixels along the side of a token.
    pub patch_size: usize,
    /// Features of an image token going in: latent channels times `patch_size²`.
    pub in_channels: usize,
    /// Latent channels coming out.
    pub out_channels: usize,
    /// Blocks.
    pub num_layers: usize,
    /// Channels of an attention head.
    pub attention_head_dim: usize,
    /// Attention heads.
    pub num_attention_heads: usize,
    /// Channels of the text encoder's output.
    pub joint_attention_dim: usize,
    /// How a head's channels are shared between the rotary angles of frame, height and width.
    pub axes_dims_rope: [usize; 3],
}

/// What a config may say; all of it is optional.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Partial {
    patch_size: Option<usize>,
    in_channels: Option<usize>,
    out_channels: Option<usize>,
    num_layers: Option<usize>,
    attention_head_dim: Option<usize>,
    num_attention_heads: Option<usize>,
    joint_attention_dim: Option<usize>,
    axes_dims_rope: Option<[usize; 3]>,
    use_additional_t_cond: Option<bool>,
    use_layer3d_rope: Option<bool>,
}

impl TransformerConfig {
    /// The published model's sizes (Qwen/Qwen-Image, `transformer/config.json`).
    pub fn published() -> Self {
        Self {
            patch_size: 2,
            in_channels: 64,
            out_channels: 16,
            num_layers: 60,
            attention_head_dim: 128,
            num_attention_heads: 24,
            joint_attention_dim: 3584,
            axes_dims_rope: [16, 56, 56],
        }
    }

    /// The width of the residual stream.
    pub fn inner_dim(&self) -> usize {
        self.num_attention_heads * self.attention_head_dim
    }

    /// The sizes from a config, where there is one, and the file's shapes.
    ///
    /// # Errors
    /// The two disagree, neither tells, or they describe no Qwen-Image transformer.
    pub fn resolve(config: Option<&Value>, shapes: Shapes) -> Result<Self, ConfigError> {
        let partial: Partial = super::parse(MODEL, config)?;
        for (feature, set) in [
            ("use_additional_t_cond", partial.use_additional_t_cond),
            ("use_layer3d_rope", partial.use_layer3d_rope),
        ] {
            if set == Some(true) {
                return Err(ConfigError::Unsupported {
                    model: MODEL,
                    feature,
                });
            }
        }
        let attention_head_dim = agree(
            MODEL,
            "attention_head_dim",
            partial.attention_head_dim,
            dimension(shapes, "transformer_blocks.0.attn.norm_q.weight", 0),
        )?;
        require(
            MODEL,
            "attention_head_dim",
            attention_head_dim > 0 && attention_head_dim.is_multiple_of(2),
            "must be even and positive",
        )?;
        let inner_dim = dimension(shapes, "img_in.weight", 0);
        if let Some(inner_dim) = inner_dim {
            require(
                MODEL,
                "attention_head_dim",
                inner_dim.is_multiple_of(attention_head_dim),
                "must divide the width of img_in",
            )?;
        }
        let patch_size = partial.patch_size.unwrap_or(crate::latents::PATCH);
        require(
            MODEL,
            "patch_size",
            patch_size == crate::latents::PATCH,
            "must be 2",
        )?;
        let axes = match attention_head_dim {
            128 => Some([16, 56, 56]),
            _ => None,
        };
        let resolved = Self {
            patch_size,
            in_channels: agree(
                MODEL,
                "in_channels",
                partial.in_channels,
                dimension(shapes, "img_in.weight", 1),
            )?,
            out_channels: agree(
                MODEL,
                "out_channels",
                partial.out_channels,
                dimension(shapes, "proj_out.weight", 0).map(|out| out / (patch_size * patch_size)),
            )?,
            num_layers: agree(
                MODEL,
                "num_layers",
                partial.num_layers,
                Some(count(shapes, |i| {
                    format!("transformer_blocks.{i}.attn.to_q.weight")
                })),
            )?,
            attention_head_dim,
            num_attention_heads: agree(
                MODEL,
                "num_attention_heads",
                partial.num_attention_heads,
                inner_dim.map(|inner| inner / attention_head_dim),
            )?,
            joint_attention_dim: agree(
                MODEL,
                "joint_attention_dim",
                partial.joint_attention_dim,
                dimension(shapes, "txt_in.weight", 1),
            )?,
            axes_dims_rope: agree(
                MODEL,
                "axes_dims_rope",
                partial.axes_dims_rope.or(axes),
                None,
            )?,
        };
        let axes = resolved.axes_dims_rope;
        require(
            MODEL,
            "axes_dims_rope",
            axes.iter().all(|axis| axis.is_multiple_of(2))
                && axes
                    .iter()
                    .try_fold(0usize, |sum, &axis| sum.checked_add(axis))
                    == Some(attention_head_dim),
            "must be even and add up to attention_head_dim",
        )?;
        require(
            MODEL,
            "in_channels",
            resolved.in_channels > 0
                && Some(resolved.in_channels)
                    == resolved.out_channels.checked_mul(patch_size * patch_size),
            "must be out_channels times patch_size squared",
        )?;
        Ok(resolved)
    }
}
