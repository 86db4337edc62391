//! The Qwen2.5-VL text encoder: transformers' names, of before and after its version 4.52, and
//! those of its language model saved by itself.

use super::{Role, Unused, indexed, is_weight_or_bias};

/// Prefixes before the keys of the language model in a vision-language model, the longest first:
/// later versions of transformers put both halves of the model under `model.`, and some programs
/// save the language model by itself.
pub(crate) const LANGUAGE: [&str; 5] = [
    "model.language_model.",
    "language_model.model.",
    "language_model.",
    "model.",
    "",
];

const VISION: [&str; 3] = ["model.visual.", "visual.", "vision_tower."];
const HEAD: [&str; 3] = [
    "lm_head.weight",
    "language_model.lm_head.weight",
    "model.lm_head.weight",
];
/// A number for CLIP's kind of text encoders, which ComfyUI gives to all in all-in-one files.
const LOGIT_SCALE: &str = "logit_scale";

/// Layers with weight and bias of each decoder layer.
const BIASED: [&str; 3] = ["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"];

/// Tensors without bias of each decoder layer.
const UNBIASED: [&str; 6] = [
    "self_attn.o_proj.weight",
    "mlp.gate_proj.weight",
    "mlp.up_proj.weight",
    "mlp.down_proj.weight",
    "input_layernorm.weight",
    "post_attention_layernorm.weight",
];

pub(super) fn role(key: &str) -> Option<Role> {
    if VISION.iter().any(|prefix| key.starts_with(prefix)) {
        return Some(Role::Unused(Unused::VisionTower));
    }
    if key == LOGIT_SCALE {
        return Some(Role::Unused(Unused::Marker));
    }
    if HEAD.contains(&key) {
        return Some(Role::Unused(Unused::LanguageHead));
    }
    let key = LANGUAGE
        .iter()
        .find_map(|prefix| key.strip_prefix(prefix))?;
    if let Some(layer) = key.strip_prefix("layers.") {
        let (_, key) = indexed(layer)?;
        if key == "self_attn.rotary_emb.inv_freq" {
            return Some(Role::Unused(Unused::Buffer));
        }
        if !UNBIASED.contains(&key) && !BIASED.iter().any(|layer| is_weight_or_bias(key, layer)) {
            return None;
        }
    } else if !matches!(key, "embed_tokens.weight" | "norm.weight") {
        return None;
    }
    Some(Role::Parameter(format!("model.{key}")))
}
