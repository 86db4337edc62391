//! Sizes of the text encoder.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    ConfigError, Shapes, agree, count, dimension, require, usual_dimension, usual_dimension_in,
};

const MODEL: &str = "text encoder";

/// The list of layers.
const LAYERS: &str = "model.layers";

/// Tensors by which a layer is known.
const OF_A_LAYER: [&str; 4] = [
    "self_attn.q_proj.weight",
    "self_attn.o_proj.weight",
    "mlp.gate_proj.weight",
    "mlp.down_proj.weight",
];

/// Heads of the published Qwen2.5-VL sizes, whose files carry no config:
/// (hidden size, rows of `k_proj`, attention heads, key-value heads).
const FAMILY: [(usize, usize, usize, usize); 4] = [
    (2048, 256, 16, 2),
    (3584, 512, 28, 4),
    (5120, 1024, 40, 8),
    (8192, 1024, 64, 8),
];

/// Sizes of Qwen2.5-VL's language model, by the names of its `config.json`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TextEncoderConfig {
    /// Rows of the embedding.
    pub vocab_size: usize,
    /// The width of the residual stream.
    pub hidden_size: usize,
    /// The inner width of the feed-forward.
    pub intermediate_size: usize,
    /// Layers.
    pub num_hidden_layers: usize,
    /// Attention heads.
    pub num_attention_heads: usize,
    /// Heads of keys and values, each shared by several attention heads.
    pub num_key_value_heads: usize,
    /// Channels of a head.
    pub head_dim: usize,
    /// The base of the rotary frequencies.
    pub rope_theta: f64,
    /// Added to mean squares.
    pub rms_norm_eps: f64,
}

/// What a config may say; all of it is optional.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Partial {
    vocab_size: Option<usize>,
    hidden_size: Option<usize>,
    intermediate_size: Option<usize>,
    num_hidden_layers: Option<usize>,
    num_attention_heads: Option<usize>,
    num_key_value_heads: Option<usize>,
    head_dim: Option<usize>,
    rope_theta: Option<f64>,
    rope_parameters: Option<RopeParameters>,
    rms_norm_eps: Option<f64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct RopeParameters {
    rope_theta: Option<f64>,
}

impl TextEncoderConfig {
    /// The published model's sizes (Qwen/Qwen-Image, `text_encoder/config.json`).
    pub fn published() -> Self {
        Self {
            vocab_size: 152_064,
            hidden_size: 3584,
            intermediate_size: 18_944,
            num_hidden_layers: 28,
            num_attention_heads: 28,
            num_key_value_heads: 4,
            head_dim: 128,
            rope_theta: 1e6,
            rms_norm_eps: 1e-6,
        }
    }

    /// The sizes from a config, where there is one, and the file's shapes. The config of the
    /// whole vision-language model serves as well as that of its language part.
    ///
    /// # Errors
    /// The two disagree, neither tells, or they describe no Qwen2.5 model.
    pub fn resolve(config: Option<&Value>, shapes: Shapes) -> Result<Self, ConfigError> {
        let language = config.map(|config| config.get("text_config").unwrap_or(config));
        let partial: Partial = super::parse(MODEL, language)?;
        let layers = count(shapes, LAYERS, &OF_A_LAYER);
        let rows = |tensor: &str| usual_dimension_in(shapes, LAYERS, layers, tensor, 0);
        let hidden_size = agree(
            MODEL,
            "hidden_size",
            partial.hidden_size,
            usual_dimension(
                shapes,
                &[("model.embed_tokens.weight", 1), ("model.norm.weight", 0)],
            ),
        )?;
        let q_rows = rows("self_attn.q_proj.weight");
        let k_rows = rows("self_attn.k_proj.weight");
        let known = FAMILY
            .iter()
            .find(|&&(hidden, k, ..)| hidden == hidden_size && Some(k) == k_rows);
        let num_attention_heads = agree(
            MODEL,
            "num_attention_heads",
            partial.num_attention_heads,
            known.map(|&(_, _, heads, _)| heads),
        )?;
        require(
            MODEL,
            "num_attention_heads",
            num_attention_heads > 0,
            "must be positive",
        )?;
        let head_dim = agree(
            MODEL,
            "head_dim",
            partial.head_dim.or(Some(hidden_size / num_attention_heads)),
            q_rows.map(|rows| rows / num_attention_heads),
        )?;
        require(
            MODEL,
            "head_dim",
            head_dim > 0 && head_dim.is_multiple_of(2),
            "must be even and positive",
        )?;
        let num_key_value_heads = agree(
            MODEL,
            "num_key_value_heads",
            partial.num_key_value_heads,
            k_rows.map(|rows| rows / head_dim),
        )?;
        require(
            MODEL,
            "num_key_value_heads",
            num_key_value_heads > 0 && num_attention_heads.is_multiple_of(num_key_value_heads),
            "must divide num_attention_heads",
        )?;
        Ok(Self {
            vocab_size: agree(
                MODEL,
                "vocab_size",
                partial.vocab_size,
                dimension(shapes, "model.embed_tokens.weight", 0),
            )?,
            hidden_size,
            intermediate_size: agree(
                MODEL,
                "intermediate_size",
                partial.intermediate_size,
                rows("mlp.gate_proj.weight"),
            )?,
            num_hidden_layers: agree(
                MODEL,
                "num_hidden_layers",
                partial.num_hidden_layers,
                Some(layers),
            )?,
            num_attention_heads,
            num_key_value_heads,
            head_dim,
            rope_theta: partial
                .rope_theta
                .or(partial.rope_parameters.and_then(|rope| rope.rope_theta))
                .unwrap_or(1e6),
            rms_norm_eps: partial.rms_norm_eps.unwrap_or(1e-6),
        })
    }
}
