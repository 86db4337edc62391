//! Keys of every program, and what they are about.

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
    let Key::Part(named) = Key::parse("base_model.model.pipe.dit.img_in.lora_A.x.weight") else {
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
        ("dora_scale", AdapterMethod::Dora),
        ("lora_magnitude_vector.weight", AdapterMethod::Dora),
        ("hada_w1_a", AdapterMethod::Loha),
        ("lokr_w2", AdapterMethod::Lokr),
        ("oft_blocks", AdapterMethod::Oft),
        ("lora_mid.weight", AdapterMethod::Tucker),
        ("diff_b", AdapterMethod::Difference),
        ("lora_B.bias", AdapterMethod::Bias),
        ("lora_B.default.bias", AdapterMethod::Bias),
        ("lora_up.bias", AdapterMethod::Bias),
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
