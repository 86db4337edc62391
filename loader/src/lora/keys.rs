//! What a key of a LoRA file is about, in all the ways in which programs name it.
//!
//! A key is prefixes, the name of a layer, and what is told of it. Prefixes and the parts' names
//! are those of diffusers and PEFT, kohya's sd-scripts, ComfyUI, DiffSynth, LyCORIS and OneTrainer;
//! any may stand with any other, and prefixes may be doubled. Names are diffusers', with dots, or
//! with underscores in their place.

use super::error::Method;
use super::text_encoder::is_of_text_encoder;
use crate::keymap::transformer_layer;

/// What a key is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Key {
    /// A part of a low-rank product beside a layer.
    Part(Named),
    /// A method that is not a plain low-rank product.
    Unsupported(Method),
    /// The text encoder.
    TextEncoder,
    /// Nothing that is known.
    Unknown,
}

/// A part of a low-rank product, and where it belongs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Named {
    /// The layer's canonical name.
    pub(super) layer: String,
    /// The layer as the file names it.
    pub(super) path: String,
    /// Which part.
    pub(super) part: Part,
    /// Whether the part has PEFT's name, `lora_A` or `lora_B`.
    pub(super) peft: bool,
    /// PEFT's name of the adapter, where the key has one.
    pub(super) adapter: Option<String>,
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

/// What PEFT puts before every key.
pub(super) const PEFT_PREFIX: &str = "base_model.model.";

/// What programs put before a layer's name, in any number and order.
const PREFIXES: [&str; 16] = [
    "base_model.",
    "model.",
    "diffusion_model.",
    "transformer.",
    "unet.",
    "pipe.",
    "pipeline.",
    "dit.",
    "net.",
    "module.",
    "_orig_mod.",
    "lora_unet_",
    "lora_transformer_",
    "lycoris_",
    "diffusion_model_",
    "transformer_",
];

/// The matrices, after a layer's name; `.weight` may follow.
const MATRICES: [(&str, Part); 10] = [
    (".lora_down", Part::Down),
    (".lora_up", Part::Up),
    (".lora_A", Part::Down),
    (".lora_B", Part::Up),
    (".lora.down", Part::Down),
    (".lora.up", Part::Up),
    ("_lora.down", Part::Down),
    ("_lora.up", Part::Up),
    (".lora_linear_layer.down", Part::Down),
    (".lora_linear_layer.up", Part::Up),
];

/// The same of PEFT, which may put the adapter's name behind them.
const PEFT_MATRICES: [&str; 2] = [".lora_A", ".lora_B"];

/// What may stand between a layer's name and `.alpha`.
const BEFORE_ALPHA: [&str; 3] = [".lora", "_lora", ".lora_linear_layer"];

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

impl Key {
    /// The meaning of a tensor's name in a file.
    pub(super) fn parse(key: &str) -> Self {
        let mut inner = key;
        loop {
            if is_of_text_encoder(inner) {
                return Self::TextEncoder;
            }
            match without_prefix(inner) {
                Some(rest) => inner = rest,
                None => break,
            }
        }
        let is_of =
            |word: &str, mark: &str| word == mark || mark.ends_with('_') && word.starts_with(mark);
        let method = METHODS
            .iter()
            .find(|(mark, _)| key.split('.').any(|word| is_of(word, mark)));
        if let Some((_, method)) = method {
            return Self::Unsupported(*method);
        }
        if let Some(matrix) = key.strip_suffix(".bias")
            && matrix_of(matrix).is_some_and(|(path, ..)| layer(path).is_some())
        {
            return Self::Unsupported(Method::Bias);
        }
        Self::part(key).map_or(Self::Unknown, Self::Part)
    }

    fn part(key: &str) -> Option<Named> {
        if let Some(path) = key.strip_suffix(".alpha") {
            let inner = BEFORE_ALPHA.iter().find_map(|end| path.strip_suffix(end));
            let path = inner.unwrap_or(path);
            return Some(Named {
                layer: layer(path)?,
                path: path.to_owned(),
                part: Part::Alpha,
                peft: false,
                adapter: None,
            });
        }
        let (path, mark, part, adapter) = matrix_of(key.strip_suffix(".weight").unwrap_or(key))?;
        Some(Named {
            layer: layer(path)?,
            path: path.to_owned(),
            part,
            peft: PEFT_MATRICES.contains(&mark),
            adapter: adapter.map(str::to_owned),
        })
    }

    /// Whether a tensor's name is one of a LoRA's, whichever model's.
    pub(super) fn is_of_a_lora(key: &str) -> bool {
        let in_name = ["lora_unet_", "lora_te", "lycoris_"];
        in_name.iter().any(|mark| key.starts_with(mark))
            || matrix_of(key.strip_suffix(".weight").unwrap_or(key)).is_some()
            || matches!(Self::parse(key), Self::Part(_) | Self::Unsupported(_))
    }
}

/// The layer's name before the name of a matrix, that name, what the matrix is, and PEFT's name of
/// the adapter.
fn matrix_of(key: &str) -> Option<(&str, &'static str, Part, Option<&str>)> {
    let mut matrices = MATRICES.iter();
    let plain = matrices.find_map(|(mark, part)| Some((key.strip_suffix(mark)?, *mark, *part)));
    if let Some((path, mark, part)) = plain {
        return Some((path, mark, part, None));
    }
    let (before, adapter) = key.rsplit_once('.')?;
    let mut matrices = MATRICES.iter();
    let (path, mark, part) = matrices.find_map(|(mark, part)| {
        let peft = PEFT_MATRICES.contains(mark);
        Some((before.strip_suffix(mark).filter(|_| peft)?, *mark, *part))
    })?;
    Some((path, mark, part, Some(adapter)))
}

/// The canonical name of the layer that a file's name stands for.
fn layer(path: &str) -> Option<String> {
    // Attention processors of old versions of diffusers had the LoRA's layers.
    let old = path.replace(".attn.processor.", ".attn.");
    let mut name = old.as_str();
    loop {
        let found = transformer_layer(name).or_else(|| {
            let output = name.ends_with(".attn.to_out");
            output.then(|| transformer_layer(&format!("{name}.0")))?
        });
        if found.is_some() {
            return found;
        }
        name = without_prefix(name)?;
    }
}

/// A name without the first of its prefixes.
fn without_prefix(name: &str) -> Option<&str> {
    let mut prefixes = PREFIXES.iter();
    prefixes.find_map(|prefix| name.strip_prefix(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The layer, the part and the adapter of a key.
    fn part(key: &str) -> Option<(String, Part, Option<String>)> {
        match Key::parse(key) {
            Key::Part(named) => Some((named.layer, named.part, named.adapter)),
            _ => None,
        }
    }

    const LAYERS: [(&str, &str); 7] = [
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
    ];

    #[test]
    fn every_dialect_names_the_same_layer() {
        for (name, underscored) in LAYERS {
            let dotted = [
                "",
                "transformer.",
                "diffusion_model.",
                "model.diffusion_model.",
                "base_model.model.",
                "pipe.dit.",
                "diffusion_model.diffusion_model.",
                "transformer.transformer.",
                "base_model.model.base_model.model.",
                "base_model.model.pipe.dit.",
                "base_model.model.transformer.",
                "base_model.model.model.diffusion_model.",
                "module._orig_mod.",
                "unet.",
            ];
            let joined = [
                "lora_unet_",
                "lycoris_",
                "lora_transformer_",
                "lora_unet_lora_unet_",
                "lora_unet_diffusion_model_",
                "base_model.model.lora_unet_",
            ];
            let dotted = dotted.iter().map(|prefix| format!("{prefix}{name}"));
            let joined = joined.iter().map(|prefix| format!("{prefix}{underscored}"));
            for layer in dotted.chain(joined) {
                for (suffix, expected) in [
                    ("lora_down.weight", Part::Down),
                    ("lora_up.weight", Part::Up),
                    ("lora_down", Part::Down),
                    ("lora_up", Part::Up),
                    ("lora_A.weight", Part::Down),
                    ("lora_B.weight", Part::Up),
                    ("lora_A", Part::Down),
                    ("lora_B", Part::Up),
                    ("lora.down.weight", Part::Down),
                    ("lora.up.weight", Part::Up),
                    ("lora.up", Part::Up),
                    ("lora_linear_layer.down.weight", Part::Down),
                    ("lora_linear_layer.up.weight", Part::Up),
                    ("alpha", Part::Alpha),
                    ("lora.alpha", Part::Alpha),
                ] {
                    let key = format!("{layer}.{suffix}");
                    let expected = Some((name.to_owned(), expected, None));
                    assert_eq!(part(&key), expected, "{key}");
                }
            }
        }
    }

    #[test]
    fn adapters_have_any_name() {
        for (suffix, expected, adapter) in [
            ("lora_A.default.weight", Part::Down, "default"),
            ("lora_B.default.weight", Part::Up, "default"),
            ("lora_A.default_0.weight", Part::Down, "default_0"),
            ("lora_B.my style-v2.weight", Part::Up, "my style-v2"),
            ("lora_B.default_0", Part::Up, "default_0"),
        ] {
            for (name, underscored) in LAYERS {
                for layer in [name.to_owned(), format!("lora_unet_{underscored}")] {
                    let key = format!("{layer}.{suffix}");
                    let expected = Some((name.to_owned(), expected, Some(adapter.to_owned())));
                    assert_eq!(part(&key), expected, "{key}");
                }
            }
        }
    }

    #[test]
    fn attention_processors_stand_for_their_layers() {
        for (key, layer, expected) in [
            (
                "transformer_blocks.3.attn.processor.to_q_lora.down.weight",
                "transformer_blocks.3.attn.to_q",
                Part::Down,
            ),
            (
                "transformer.transformer_blocks.3.attn.processor.to_out_lora.up.weight",
                "transformer_blocks.3.attn.to_out.0",
                Part::Up,
            ),
            (
                "transformer_blocks.3.attn.to_k_lora.alpha",
                "transformer_blocks.3.attn.to_k",
                Part::Alpha,
            ),
        ] {
            assert_eq!(part(key), Some((layer.to_owned(), expected, None)), "{key}");
        }
    }

    #[test]
    fn a_key_tells_what_the_file_calls_the_layer() {
        let Key::Part(named) = Key::parse("base_model.model.pipe.dit.img_in.lora_A.x.weight")
        else {
            panic!("not a part");
        };
        assert_eq!(named.path, "base_model.model.pipe.dit.img_in");
        assert!(named.peft);
        let Key::Part(named) = Key::parse("lora_unet_img_in.lora_down.weight") else {
            panic!("not a part");
        };
        assert!(!named.peft);
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
            ("lora_B.bias", Method::Bias),
            ("lora_B.default.bias", Method::Bias),
            ("lora_up.bias", Method::Bias),
        ] {
            let key = format!("{layer}.{suffix}");
            assert_eq!(Key::parse(&key), Key::Unsupported(method), "{key}");
        }
        for key in [
            "transformer_blocks.0.attn.to_q.weight",
            "transformer_blocks.0.attn.to_x.lora_A.weight",
            "transformer_blocks.0.attn.norm_q.lora_A.weight",
            "transformer_blocks.00.attn.to_q.lora_A.weight",
            "transformer_blocks.0.attn.to_q.lora_A.a.b.weight",
            "transformer_blocks.0.attn.to_q.lora_down.a.weight",
            "lora_unet_double_blocks_0_img_attn_qkv.lora_down.weight",
            "lora_unet_transformer_blocks__attn_to_q.lora_down.weight",
            "diffusion_model.blocks.0.self_attn.q.lora_A.weight",
            "alpha",
            ".lora_A",
            "",
        ] {
            assert_eq!(Key::parse(key), Key::Unknown, "{key}");
        }
    }

    #[test]
    fn loras_of_other_models_look_like_loras() {
        for key in [
            "diffusion_model.blocks.0.self_attn.q.lora_A.weight",
            "blocks.0.self_attn.q.lora_B.default",
            "unet.up.attn.processor.to_q_lora.down.weight",
            "double_blocks.0.lora_linear_layer.up.weight",
            "lora_unet_double_blocks_0_img_attn_qkv.alpha",
        ] {
            assert!(Key::is_of_a_lora(key), "{key}");
        }
        for key in [
            "transformer_blocks.0.attn.to_q.weight",
            "alpha",
            "x.lora",
            "",
        ] {
            assert!(!Key::is_of_a_lora(key), "{key}");
        }
    }
}
