//! Which keys of a LoRA file are about a text encoder.

/// Before keys about the text encoder, in the names of diffusers, kohya's sd-scripts, ComfyUI and
/// OneTrainer.
const PREFIXES: [&str; 10] = [
    "text_encoder",
    "lora_te",
    "lora_text_encoder",
    "lycoris_te",
    "cond_stage_model.",
    "conditioner.",
    "text_model.",
    "language_model.",
    "qwen25_7b.",
    "visual.",
];

/// The linear layers of a block of Qwen2.5-VL, and of CLIP.
const LAYERS: [&str; 10] = [
    "q_proj",
    "k_proj",
    "v_proj",
    "o_proj",
    "out_proj",
    "gate_proj",
    "up_proj",
    "down_proj",
    "fc1",
    "fc2",
];

/// Tells whether a key, without what programs put before all keys, is about a text encoder. PEFT's
/// keys of a language model only name its layers.
pub(super) fn is_of_text_encoder(key: &str) -> bool {
    if PREFIXES.iter().any(|prefix| key.starts_with(prefix)) {
        return true;
    }
    let mut words = key.split('.');
    if words.next() != Some("layers") {
        return false;
    }
    let number = words.next().unwrap_or_default();
    !number.is_empty()
        && number.bytes().all(|byte| byte.is_ascii_digit())
        && matches!(words.next(), Some("self_attn" | "mlp"))
        && words.next().is_some_and(|word| LAYERS.contains(&word))
}

#[cfg(test)]
mod tests {
    use crate::lora::keys::Key;

    #[test]
    fn text_encoders_are_known_in_every_dialect() {
        for key in [
            "text_encoder.model.layers.0.self_attn.q_proj.lora_A.weight",
            "text_encoder_2.encoder.block.0.layer.0.SelfAttention.q.lora_A.weight",
            "text_encoders.qwen25_7b.transformer.model.layers.0.mlp.up_proj.lora_up.weight",
            "base_model.model.text_encoder.layers.0.mlp.up_proj.lora_A.weight",
            "pipe.text_encoder.model.layers.0.mlp.up_proj.lora_A.default.weight",
            "lora_te_text_model_encoder_layers_0_mlp_fc1.alpha",
            "lora_te1_text_model_encoder_layers_0_mlp_fc1.alpha",
            "base_model.model.model.layers.27.mlp.gate_proj.lora_A.weight",
            "model.language_model.layers.0.self_attn.o_proj.lora_B.weight",
            "model.visual.blocks.0.attn.qkv.lora_A.weight",
            "text_encoder.model.layers.0.mlp.up_proj.lora_magnitude_vector",
        ] {
            assert_eq!(Key::parse(key), Key::TextEncoder, "{key}");
        }
        for key in [
            "diffusion_model.layers.0.attention.to_q.lora_A.weight",
            "layers.x.mlp.up_proj.lora_A.weight",
            "layers.0.mlp.other.lora_A.weight",
        ] {
            assert_eq!(Key::parse(key), Key::Unknown, "{key}");
        }
    }
}
