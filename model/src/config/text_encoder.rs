//! Sizes of the text encoder.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{
    ConfigError, Shapes, agree, count, dimension, not_cut_short, require, supported,
    usual_dimension, usual_dimension_in,
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

/// A published Qwen2.5-VL model. Single files have no config, and their shapes do not show the
/// number of heads.
struct Published {
    hidden_size: usize,
    /// Rows of `k_proj`.
    k_rows: usize,
    num_attention_heads: usize,
    num_hidden_layers: usize,
}

/// The published sizes: 3B, 7B, 32B and 72B.
const FAMILY: [Published; 4] = [
    Published::new(2048, 256, 16, 36),
    Published::new(3584, 512, 28, 28),
    Published::new(5120, 1024, 40, 64),
    Published::new(8192, 1024, 64, 80),
];

impl Published {
    const fn new(
        hidden_size: usize,
        k_rows: usize,
        num_attention_heads: usize,
        num_hidden_layers: usize,
    ) -> Self {
        Self {
            hidden_size,
            k_rows,
            num_attention_heads,
            num_hidden_layers,
        }
    }
}

/// The models with Qwen2.5's decoder layers, by the `model_type` of their configs.
const MODEL_TYPES: [&str; 5] = [
    "qwen2_5_vl",
    "qwen2_5_vl_text",
    "qwen2_vl",
    "qwen2_vl_text",
    "qwen2",
];

/// The number that transformers adds to mean squares if the config has no `rms_norm_eps`.
const TRANSFORMERS_EPS: f64 = 1e-5;

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

/// The fields of a config, all of them optional.
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
    rope_parameters: Option<Map<String, Value>>,
    rope_scaling: Option<Map<String, Value>>,
    rms_norm_eps: Option<f64>,
    model_type: Option<String>,
    hidden_act: Option<String>,
    use_sliding_window: Option<bool>,
    max_window_layers: Option<usize>,
    layer_types: Option<Vec<String>>,
}

impl Partial {
    /// Refuses fields that would change the embeddings and are not implemented. Fields without an
    /// effect on them are ignored: `tie_word_embeddings` (the language head),
    /// `max_position_embeddings` (other rotary types than the default), dropout, and everything
    /// about images and caches.
    fn check(&self, layers: usize) -> Result<(), ConfigError> {
        let model_type = self.model_type.as_deref();
        supported(
            MODEL,
            "model_type",
            model_type.unwrap_or_default(),
            model_type.is_none_or(|model_type| MODEL_TYPES.contains(&model_type)),
            "Qwen2.5-VL is needed",
        )?;
        let act = self.hidden_act.as_deref().unwrap_or("silu");
        let known = matches!(act, "silu" | "swish");
        supported(MODEL, "hidden_act", act, known, "only silu is")?;
        let why = "every layer attends to all tokens before";
        let kinds = self.layer_types.iter().flatten();
        for kind in kinds {
            let full = kind == "full_attention";
            supported(MODEL, "layer_types", kind, full, why)?;
        }
        let windowed = self.use_sliding_window == Some(true)
            && self.layer_types.is_none()
            && self.max_window_layers.is_none_or(|first| first < layers);
        supported(MODEL, "use_sliding_window", true, !windowed, why)?;
        for (field, rope) in [
            ("rope_scaling", &self.rope_scaling),
            ("rope_parameters", &self.rope_parameters),
        ] {
            let rope = rope.iter().flatten();
            for (key, value) in rope {
                let holds = match (key.as_str(), value) {
                    ("rope_type" | "type", Value::String(kind)) => {
                        matches!(kind.as_str(), "default" | "mrope")
                    }
                    ("rope_type" | "type", value) => value.is_null(),
                    (_, value) => !value.is_object(),
                };
                let why = "only the default rotary positions are";
                supported(MODEL, field, format!("{key}: {value}"), holds, why)?;
            }
        }
        Ok(())
    }

    /// The base of the rotary frequencies, wherever transformers would take it from.
    fn rope_theta(&self) -> Result<f64, ConfigError> {
        let scaling = self.rope_scaling.as_ref().filter(|rope| !rope.is_empty());
        let rope = scaling.or(self.rope_parameters.as_ref());
        let own = rope.and_then(|rope| rope.get("rope_theta"));
        let theta = match own.filter(|theta| !theta.is_null()) {
            Some(theta) => theta.as_f64().unwrap_or(f64::NAN),
            None => self.rope_theta.unwrap_or(1e6),
        };
        let positive = theta > 0.0 && theta.is_finite();
        require(MODEL, "rope_theta", positive, "must be a positive number")?;
        Ok(theta)
    }

    fn rms_norm_eps(&self) -> Result<f64, ConfigError> {
        let usual = match self.model_type {
            Some(_) => TRANSFORMERS_EPS,
            None => TextEncoderConfig::published().rms_norm_eps,
        };
        let eps = self.rms_norm_eps.unwrap_or(usual);
        let positive = eps > 0.0 && eps.is_finite();
        require(MODEL, "rms_norm_eps", positive, "must be a positive number")?;
        Ok(eps)
    }
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
        partial.check(layers)?;
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
            .find(|model| model.hidden_size == hidden_size && Some(model.k_rows) == k_rows);
        not_cut_short(
            MODEL,
            ("layers", "num_hidden_layers"),
            partial.num_hidden_layers,
            layers,
            known.map(|model| model.num_hidden_layers),
        )?;
        let num_attention_heads = agree(
            MODEL,
            "num_attention_heads",
            partial.num_attention_heads,
            known.map(|model| model.num_attention_heads),
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
            rope_theta: partial.rope_theta()?,
            rms_norm_eps: partial.rms_norm_eps()?,
        })
    }

    /// The number of layers of the published model of this width.
    pub fn published_layers(&self) -> Option<usize> {
        let mut family = FAMILY.iter();
        let model = family.find(|model| model.hidden_size == self.hidden_size)?;
        Some(model.num_hidden_layers)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
