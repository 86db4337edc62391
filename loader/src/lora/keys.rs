//! What a key of a LoRA file is about, in all the ways in which programs name it.
//!
//! A key is a prefix, the name of a layer and what is told of it. Prefixes and the parts' names
//! are those of diffusers and PEFT, kohya's sd-scripts, ComfyUI, LyCORIS and OneTrainer; any may
//! stand with any other. Names are diffusers', with dots, or with underscores in their place.

use super::error::Method;
use crate::keymap::transformer_layer;

/// What a key is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Key {
    /// A part of a low-rank product beside a layer, by the layer's canonical name.
    Part(String, Part),
    /// A method that is not a plain low-rank product.
    Unsupported(Method),
    /// The text encoder.
    TextEncoder,
    /// Nothing that is known.
    Unknown,
}

/// A part of a low-rank product.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// `[rank, in]`, the first factor that an activation meets.
    Down,
    /// `[out, rank]`.
    Up,
    /// A scalar: the product is scaled by it over the rank.
    Alpha,
}

/// Before a layer's name, the longest first where one begins with another.
const PREFIXES: [&str; 8] = [
    "base_model.model.",
    "model.diffusion_model.",
    "diffusion_model.",
    "transformer.",
    "lora_transformer_",
    "lora_unet_",
    "lycoris_",
    "",
];

/// After a layer's name.
const PARTS: [(&str, Part); 11] = [
    (".lora_down.weight", Part::Down),
    (".lora_up.weight", Part::Up),
    (".lora_A.weight", Part::Down),
    (".lora_B.weight", Part::Up),
    (".lora_A.default.weight", Part::Down),
    (".lora_B.default.weight", Part::Up),
    (".lora.down.weight", Part::Down),
    (".lora.up.weight", Part::Up),
    ("_lora.down.weight", Part::Down),
    ("_lora.up.weight", Part::Up),
    (".alpha", Part::Alpha),
];

/// Words between dots that tell of other methods; those that end in `_` begin the word.
const METHODS: [(&str, Method); 10] = [
    ("dora_scale", Method::Dora),
    ("lora_magnitude_vector", Method::Dora),
    ("hada_", Method::Loha),
    ("lokr_", Method::Lokr),
    ("oft_", Method::Oft),
    ("boft_", Method::Oft),
    ("lora_mid", Method::Tucker),
    ("diff", Method::Difference),
    ("diff_b", Method::Difference),
    ("set_weight", Method::Difference),
];

/// Before keys about the text encoder.
const TEXT_ENCODER: [&str; 3] = ["text_encoder", "lora_te", "lora_text_encoder"];

impl Key {
    /// Of a tensor's name in a file.
    pub(super) fn parse(key: &str) -> Self {
        if TEXT_ENCODER.iter().any(|prefix| key.starts_with(prefix)) {
            return Self::TextEncoder;
        }
        let is_of =
            |word: &str, mark: &str| word == mark || mark.ends_with('_') && word.starts_with(mark);
        let method = METHODS
            .iter()
            .find(|(mark, _)| key.split('.').any(|word| is_of(word, mark)));
        if let Some((_, method)) = method {
            return Self::Unsupported(*method);
        }
        let parts = PARTS.iter().filter_map(|(suffix, part)| {
            let layer = PREFIXES.iter().find_map(|prefix| {
                transformer_layer(key.strip_suffix(suffix)?.strip_prefix(prefix)?)
            });
            Some(Self::Part(layer?, *part))
        });
        parts.into_iter().next().unwrap_or(Self::Unknown)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_dialect_names_the_same_layer() {
        for (name, underscored) in [
            (
                "transformer_blocks.0.attn.to_q",
                "transformer_blocks_0_attn_to_q",
            ),
            (
                "transformer_blocks.59.attn.to_out.0",
                "transformer_blocks_59_attn_to_out_0",
            ),
            (
                "transformer_blocks.12.img_mlp.net.0.proj",
                "transformer_blocks_12_img_mlp_net_0_proj",
            ),
            (
                "transformer_blocks.1.txt_mod.1",
                "transformer_blocks_1_txt_mod_1",
            ),
            ("norm_out.linear", "norm_out_linear"),
            (
                "time_text_embed.timestep_embedder.linear_2",
                "time_text_embed_timestep_embedder_linear_2",
            ),
            ("img_in", "img_in"),
        ] {
            let dotted = [
                "",
                "transformer.",
                "diffusion_model.",
                "model.diffusion_model.",
                "base_model.model.",
            ];
            let joined = ["lora_unet_", "lycoris_", "lora_transformer_"];
            let dotted = dotted.iter().map(|prefix| format!("{prefix}{name}"));
            let joined = joined.iter().map(|prefix| format!("{prefix}{underscored}"));
            for layer in dotted.chain(joined) {
                for (suffix, part) in [
                    ("lora_down.weight", Part::Down),
                    ("lora_up.weight", Part::Up),
                    ("lora_A.weight", Part::Down),
                    ("lora_B.default.weight", Part::Up),
                    ("lora.down.weight", Part::Down),
                    ("alpha", Part::Alpha),
                ] {
                    let key = format!("{layer}.{suffix}");
                    assert_eq!(Key::parse(&key), Key::Part(name.to_owned(), part), "{key}");
                }
            }
        }
    }

    #[test]
    fn other_methods_and_models_are_told_apart() {
        let layer = "transformer_blocks.0.attn.to_q";
        for (suffix, method) in [
            ("dora_scale", Method::Dora),
            ("lora_magnitude_vector.weight", Method::Dora),
            ("hada_w1_a", Method::Loha),
            ("lokr_w2", Method::Lokr),
            ("oft_blocks", Method::Oft),
            ("lora_mid.weight", Method::Tucker),
            ("diff_b", Method::Difference),
        ] {
            let key = format!("{layer}.{suffix}");
            assert_eq!(Key::parse(&key), Key::Unsupported(method), "{key}");
        }
        for key in [
            "text_encoder.model.layers.0.self_attn.q_proj.lora_A.weight",
            "lora_te_text_model_encoder_layers_0_mlp_fc1.alpha",
            "lora_te1_text_model_encoder_layers_0_mlp_fc1.alpha",
        ] {
            assert_eq!(Key::parse(key), Key::TextEncoder, "{key}");
        }
        for key in [
            "transformer_blocks.0.attn.to_q.weight",
            "transformer_blocks.0.attn.to_x.lora_A.weight",
            "transformer_blocks.0.attn.norm_q.lora_A.weight",
            "transformer_blocks.00.attn.to_q.lora_A.weight",
            "lora_unet_double_blocks_0_img_attn_qkv.lora_down.weight",
            "lora_unet_transformer_blocks__attn_to_q.lora_down.weight",
            "alpha",
            "",
        ] {
            assert_eq!(Key::parse(key), Key::Unknown, "{key}");
        }
    }
}
