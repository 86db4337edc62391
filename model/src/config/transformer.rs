//! Sizes of the diffusion transformer.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    ConfigError, Shapes, agree, count, not_cut_short, require, supported, usual_dimension,
    usual_dimension_in,
};

const MODEL: &str = "transformer";

/// The model's class in diffusers.
const CLASS: &str = "QwenImageTransformer2DModel";

/// The list of blocks.
const BLOCKS: &str = "transformer_blocks";

/// Tensors by which a block is known.
const OF_A_BLOCK: [&str; 5] = [
    "attn.to_q.weight",
    "attn.to_k.weight",
    "attn.to_out.0.weight",
    "img_mod.1.weight",
    "txt_mlp.net.2.weight",
];

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
    /// The channels of a head that each rotary axis turns: frame, height and width.
    pub axes_dims_rope: [usize; 3],
}

/// The fields of a config, all of them optional.
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
    guidance_embeds: Option<bool>,
    #[serde(rename = "_class_name")]
    class: Option<String>,
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

    /// The number of elements that modulate the transformer at one timestep: shift, scale and gate
    /// for both halves of both streams of each block, and the output's scale and shift.
    pub fn modulation_elements(&self) -> usize {
        (12 * self.num_layers + 2) * self.inner_dim()
    }

    /// The number of blocks of the published model of this width.
    pub fn published_layers(&self) -> Option<usize> {
        published_blocks(self.inner_dim())
    }

    /// The sizes from a config, where there is one, and the file's shapes.
    ///
    /// # Errors
    /// The two disagree, neither tells, or they describe no Qwen-Image transformer.
    pub fn resolve(config: Option<&Value>, shapes: Shapes) -> Result<Self, ConfigError> {
        let partial: Partial = super::parse(MODEL, config)?;
        let class = partial.class.as_deref().unwrap_or(CLASS);
        supported(
            MODEL,
            "_class_name",
            class,
            class == CLASS,
            "it is another model",
        )?;
        // `zero_cond_t` concerns reference images, which are not implemented.
        for (feature, set) in [
            ("use_additional_t_cond", partial.use_additional_t_cond),
            ("use_layer3d_rope", partial.use_layer3d_rope),
            ("guidance_embeds", partial.guidance_embeds),
        ] {
            if set == Some(true) {
                return Err(ConfigError::Unsupported {
                    model: MODEL,
                    feature,
                });
            }
        }
        let blocks = count(shapes, BLOCKS, &OF_A_BLOCK);
        let attention_head_dim = agree(
            MODEL,
            "attention_head_dim",
            partial.attention_head_dim,
            usual_dimension_in(shapes, BLOCKS, blocks, "attn.norm_q.weight", 0),
        )?;
        require(
            MODEL,
            "attention_head_dim",
            attention_head_dim > 0 && attention_head_dim.is_multiple_of(2),
            "must be even and positive",
        )?;
        let inner_dim = usual_dimension(shapes, &[("img_in.weight", 0), ("img_in.bias", 0)]);
        if let Some(inner_dim) = inner_dim {
            require(
                MODEL,
                "attention_head_dim",
                inner_dim.is_multiple_of(attention_head_dim),
                "must divide the width of img_in",
            )?;
        }
        not_cut_short(
            MODEL,
            ("blocks", "num_layers"),
            partial.num_layers,
            blocks,
            inner_dim.and_then(published_blocks),
        )?;
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
                usual_dimension(
                    shapes,
                    &[
                        ("img_in.weight", 1),
                        ("proj_out.weight", 0),
                        ("proj_out.bias", 0),
                    ],
                ),
            )?,
            out_channels: agree(
                MODEL,
                "out_channels",
                partial.out_channels,
                usual_dimension(
                    shapes,
                    &[
                        ("proj_out.weight", 0),
                        ("proj_out.bias", 0),
                        ("img_in.weight", 1),
                    ],
                )
                .map(|out| out / (patch_size * patch_size)),
            )?,
            num_layers: agree(MODEL, "num_layers", partial.num_layers, Some(blocks))?,
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
                usual_dimension(shapes, &[("txt_in.weight", 1), ("txt_norm.weight", 0)]),
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

/// The number of blocks of the published model of a width.
fn published_blocks(inner_dim: usize) -> Option<usize> {
    let published = TransformerConfig::published();
    (inner_dim == published.inner_dim()).then_some(published.num_layers)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// A shape of the published transformer; `None` for what it does not have.
    fn published(name: &str) -> Option<Vec<usize>> {
        let tensor = match name.strip_prefix("transformer_blocks.") {
            Some(rest) => {
                let (block, tensor) = rest.split_once('.')?;
                if block.parse::<usize>().ok()? >= 60 {
                    return None;
                }
                tensor
            }
            None => name,
        };
        Some(match tensor {
            "img_in.weight" => vec![3072, 64],
            "img_in.bias" => vec![3072],
            "txt_in.weight" => vec![3072, 3584],
            "txt_norm.weight" => vec![3584],
            "proj_out.weight" => vec![64, 3072],
            "proj_out.bias" => vec![64],
            "attn.norm_q.weight" => vec![128],
            "img_mod.1.weight" => vec![18_432, 3072],
            "txt_mlp.net.2.weight" => vec![3072, 12_288],
            "attn.to_q.weight" | "attn.to_k.weight" | "attn.to_out.0.weight" => vec![3072, 3072],
            _ => return None,
        })
    }

    #[test]
    fn a_tensor_that_is_missing_or_misshapen_does_not_change_the_sizes() {
        let expected = TransformerConfig::published();
        let blocks = [0, 30, 59].into_iter().flat_map(|block| {
            let tensors = OF_A_BLOCK.iter().chain(["attn.norm_q.weight"].iter());
            tensors.map(move |tensor| format!("{BLOCKS}.{block}.{tensor}"))
        });
        let ends = ["img_in.weight", "txt_in.weight", "proj_out.weight"];
        for damaged in blocks.chain(ends.map(str::to_owned)) {
            let lacking = |name: &str| published(name).filter(|_| name != damaged);
            let sizes = TransformerConfig::resolve(None, &lacking);
            assert_eq!(sizes.as_ref(), Ok(&expected), "without {damaged}");
            if !ends.contains(&damaged.as_str()) {
                let flat = |name: &str| {
                    let shape = published(name)?;
                    Some(if name == damaged {
                        vec![shape.iter().product::<usize>() + 1]
                    } else {
                        shape
                    })
                };
                let sizes = TransformerConfig::resolve(None, &flat);
                assert_eq!(sizes.as_ref(), Ok(&expected), "flat {damaged}");
            }
        }
    }

    #[test]
    fn a_file_of_the_published_width_that_lacks_blocks_is_no_smaller_model() {
        let short =
            |name: &str| published(name).filter(|_| !name.starts_with("transformer_blocks.59."));
        let resolve = |config: Option<&Value>| TransformerConfig::resolve(config, &short);
        let refused = resolve(None).unwrap_err();
        assert_eq!(
            refused,
            ConfigError::CutShort {
                model: MODEL,
                what: "blocks",
                field: "num_layers",
                found: 59,
                published: 60
            }
        );
        assert!(
            refused.to_string().contains("59 of the 60 blocks"),
            "{refused}"
        );
        // One that was made smaller says so.
        let pruned = serde_json::json!({"num_layers": 59});
        assert_eq!(resolve(Some(&pruned)).map(|sizes| sizes.num_layers), Ok(59));
        let whole = serde_json::json!({"num_layers": 60});
        assert!(matches!(
            resolve(Some(&whole)),
            Err(ConfigError::Contradiction { .. })
        ));
    }

    #[test]
    fn fields_that_change_the_image_are_refused() {
        for (field, value) in [
            ("guidance_embeds", serde_json::json!(true)),
            ("use_additional_t_cond", serde_json::json!(true)),
            ("use_layer3d_rope", serde_json::json!(true)),
            ("_class_name", serde_json::json!("QwenImageControlNetModel")),
            ("patch_size", serde_json::json!(1)),
        ] {
            let config = serde_json::json!({field: value});
            let refused = TransformerConfig::resolve(Some(&config), &published);
            let said = refused.map_err(|error| error.to_string()).unwrap_err();
            assert!(said.contains(field), "{said}");
        }
        let marked = serde_json::json!({"zero_cond_t": true, "guidance_embeds": false});
        assert!(TransformerConfig::resolve(Some(&marked), &published).is_ok());
    }

    #[test]
    fn a_block_far_away_is_not_looked_for() {
        let far = |name: &str| match name {
            "transformer_blocks.99999999.attn.to_q.weight" => Some(vec![3072, 3072]),
            name => published(name),
        };
        let sizes = TransformerConfig::resolve(None, &far).expect("sizes");
        assert_eq!(sizes.num_layers, 60);
    }
}
