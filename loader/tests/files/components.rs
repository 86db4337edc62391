//! Which model a file is.

use loader::dialect::Dialect;
use loader::{Component, ElementType, LoadError, Weights};
use tempfile::tempdir;

use crate::writer::{Writer, text_encoder, transformer, vae};

#[test]
fn each_component_is_recognised() {
    let dir = tempdir().unwrap();
    let diffusers_vae = Writer::default().zeros(
        "decoder.mid_block.resnets.0.norm1.gamma",
        ElementType::BF16,
        &[4, 1, 1, 1],
    );
    let new_text_encoder = Writer::default().zeros(
        "model.language_model.layers.0.self_attn.k_proj.bias",
        ElementType::BF16,
        &[4],
    );
    for (i, (file, component)) in [
        (transformer(""), Component::Transformer),
        (text_encoder(), Component::TextEncoder),
        (new_text_encoder, Component::TextEncoder),
        (vae(), Component::Vae),
        (diffusers_vae, Component::Vae),
    ]
    .into_iter()
    .enumerate()
    {
        let path = file.write(dir.path().join(format!("{i}.safetensors")));
        assert_eq!(Weights::open_any(&path).unwrap().component(), component);
        assert!(Weights::open(&path, component).is_ok());
    }
}

#[test]
fn prefixes_of_the_transformer_are_stripped() {
    let dir = tempdir().unwrap();
    for prefix in [
        "",
        "model.diffusion_model.",
        "model.model.",
        "net.",
        "model.",
    ] {
        let path = transformer(prefix)
            .zeros(&format!("{prefix}proj_out.bias"), ElementType::BF16, &[4])
            .write(dir.path().join("x.safetensors"));
        let weights = Weights::open(&path, Component::Transformer).unwrap();
        assert_eq!(
            weights.names().collect::<Vec<_>>(),
            ["proj_out.bias", "txt_norm.weight"]
        );
        assert_eq!(weights.shape("proj_out.bias"), Some([4].as_slice()));
    }
}

#[test]
fn text_encoders_are_known_by_all_names_of_their_language_model() {
    let dir = tempdir().unwrap();
    let tail = "layers.0.self_attn.k_proj.bias";
    for prefix in [
        "model.",
        "model.language_model.",
        "language_model.",
        "language_model.model.",
        "",
        "text_encoder.model.",
        "text_encoders.qwen25_7b.transformer.model.",
        "text_encoders.qwen25_7b.transformer.model.language_model.",
    ] {
        let path = Writer::default()
            .zeros(&format!("{prefix}{tail}"), ElementType::BF16, &[4])
            .zeros(&format!("{prefix}norm.weight"), ElementType::BF16, &[4])
            .write(dir.path().join("x.safetensors"));
        let weights = Weights::open_any(&path).unwrap();
        assert_eq!(weights.component(), Component::TextEncoder, "{prefix}");
        let names = weights.names().collect::<Vec<_>>();
        let canonical = format!("model.{tail}");
        assert_eq!(names, [canonical.as_str(), "model.norm.weight"], "{prefix}");
    }
    // CLIP's layers have such names too.
    for other in [
        "text_model.encoder.",
        "text_encoders.clip_l.transformer.text_model.encoder.",
        "conditioner.embedders.0.transformer.text_model.encoder.",
    ] {
        let path = Writer::default()
            .zeros(&format!("{other}{tail}"), ElementType::BF16, &[4])
            .write(dir.path().join("x.safetensors"));
        assert!(Weights::open_any(&path).is_err(), "{other}");
    }
    for head in ["lm_head.weight", "language_model.lm_head.weight"] {
        let path = text_encoder()
            .zeros(head, ElementType::BF16, &[4])
            .write(dir.path().join("x.safetensors"));
        assert!(
            Weights::open(&path, Component::TextEncoder).is_ok(),
            "{head}"
        );
    }
}

/// All three models in one file, as ComfyUI saves them.
fn all_in_one() -> Writer {
    transformer("model.diffusion_model.")
        .zeros(
            "text_encoders.qwen25_7b.transformer.model.layers.0.self_attn.k_proj.bias",
            ElementType::BF16,
            &[4],
        )
        .zeros("text_encoders.qwen25_7b.logit_scale", ElementType::F32, &[])
        .zeros(
            "vae.decoder.middle.0.residual.0.gamma",
            ElementType::BF16,
            &[4],
        )
        .metadata(
            "config",
            r#"{"transformer": {"a": 1}, "text_encoder": {"b": 2}, "vae": {"c": 3}}"#,
        )
}

#[test]
fn each_model_of_a_file_of_all_is_opened_by_itself() {
    let dir = tempdir().unwrap();
    let path = all_in_one().write(dir.path().join("x.safetensors"));
    for (component, name, field) in [
        (Component::Transformer, "txt_norm.weight", "a"),
        (
            Component::TextEncoder,
            "model.layers.0.self_attn.k_proj.bias",
            "b",
        ),
        (
            Component::Vae,
            "decoder.mid_block.resnets.0.norm1.gamma",
            "c",
        ),
    ] {
        let weights = Weights::open(&path, component).unwrap();
        assert_eq!(weights.component(), component);
        assert_eq!(weights.names().collect::<Vec<_>>(), [name]);
        assert!(weights.config().unwrap().get(field).is_some(), "{field}");
        assert_eq!(weights.checkpoint().tensors_in_files(), 4);
    }
    let held = loader::components(&loader::Checkpoint::open(&path).unwrap());
    assert_eq!(held, Component::ALL);
    // What is after a model's prefix is still that model's, and known or not.
    let odd = all_in_one().zeros("vae.odd", ElementType::BF16, &[4]);
    let path = odd.write(dir.path().join("x.safetensors"));
    assert!(Weights::open(&path, Component::Transformer).is_ok());
    let error = Weights::open(&path, Component::Vae).unwrap_err();
    assert!(matches!(error, LoadError::UnknownKeys { .. }), "{error}");
}

#[test]
fn a_config_in_a_file_of_all_is_only_its_own_models() {
    let dir = tempdir().unwrap();
    let file = transformer("model.diffusion_model.")
        .zeros(
            "vae.decoder.middle.0.residual.0.gamma",
            ElementType::BF16,
            &[4],
        )
        .metadata("config", r#"{"num_layers": 2, "num_attention_heads": 3}"#);
    let path = file.write(dir.path().join("x.safetensors"));
    let open = |component| Weights::open(&path, component).unwrap();
    assert!(open(Component::Transformer).config().is_some());
    assert_eq!(open(Component::Vae).config(), None);
}

#[test]
fn each_model_of_a_file_of_all_is_scaled_in_its_own_way() {
    let dir = tempdir().unwrap();
    let metadata = r#"{"layers": {
        "model.diffusion_model.img_in": {"format": "float8_e4m3fn"},
        "text_encoders.q.transformer.model.layers.0.mlp.up_proj": {"format": "nvfp4"}}}"#;
    let file = transformer("model.diffusion_model.")
        .zeros(
            "model.diffusion_model.img_in.weight",
            ElementType::F8E4M3,
            &[2, 2],
        )
        .f32("model.diffusion_model.img_in.weight_scale", &[], &[0.5])
        .metadata("_quantization_metadata", metadata)
        .zeros(
            "text_encoders.q.transformer.model.layers.0.self_attn.k_proj.bias",
            ElementType::BF16,
            &[4],
        )
        .zeros(
            "vae.decoder.middle.0.residual.0.gamma",
            ElementType::BF16,
            &[4],
        );
    let path = file.write(dir.path().join("x.safetensors"));
    let weights = Weights::open(&path, Component::Transformer).unwrap();
    assert_eq!(weights.dialect(), Dialect::QuantizationMetadata);
    let weights = Weights::open(&path, Component::Vae).unwrap();
    assert_eq!(weights.dialect(), Dialect::Dense);
    assert!(Weights::open(&path, Component::TextEncoder).is_err());
}

#[test]
fn a_key_outside_the_prefix_is_not_known() {
    let dir = tempdir().unwrap();
    let path = transformer("net.")
        .zeros("first_stage_model.x", ElementType::BF16, &[4])
        .write(dir.path().join("x.safetensors"));
    let error = Weights::open(&path, Component::Transformer).unwrap_err();
    assert!(matches!(error, LoadError::UnknownKeys { .. }), "{error}");
}

#[test]
fn one_parameter_with_and_without_prefix() {
    let dir = tempdir().unwrap();
    let path = transformer("net.")
        .zeros("txt_norm.weight", ElementType::BF16, &[4])
        .write(dir.path().join("x.safetensors"));
    let error = Weights::open(&path, Component::Transformer).unwrap_err();
    assert!(matches!(error, LoadError::SameParameter { .. }), "{error}");
}

#[test]
fn the_wrong_model_is_named() {
    let dir = tempdir().unwrap();
    let path = vae().write(dir.path().join("x.safetensors"));
    let error = Weights::open(&path, Component::Transformer).unwrap_err();
    assert!(
        error
            .to_string()
            .ends_with("x.safetensors: is a VAE, not a transformer"),
        "{error}"
    );
}

#[test]
fn several_models_in_one_file() {
    let dir = tempdir().unwrap();
    let path = transformer("model.diffusion_model.")
        .zeros("decoder.middle.0.residual.0.gamma", ElementType::BF16, &[4])
        .write(dir.path().join("x.safetensors"));
    let error = Weights::open_any(&path).unwrap_err();
    assert!(
        matches!(error, LoadError::SeveralComponents { .. }),
        "{error}"
    );
}

#[test]
fn other_models_are_refused_with_a_hint() {
    let dir = tempdir().unwrap();
    for (key, hint) in [
        ("transformer_blocks.0.attn.to_q.lora_down.weight", "a LoRA"),
        ("double_blocks.0.img_attn.norm.key_norm.scale", "Flux"),
        (
            "encoder.down_blocks.0.resnets.0.conv1.weight",
            "Stable Diffusion",
        ),
        (
            "model.layers.0.self_attn.q_proj.weight",
            "another language model",
        ),
        ("x", "not a Qwen-Image"),
    ] {
        let path = Writer::default()
            .zeros(key, ElementType::BF16, &[4])
            .write(dir.path().join("x.safetensors"));
        let error = Weights::open(&path, Component::Transformer).unwrap_err();
        assert!(matches!(error, LoadError::UnknownComponent { .. }));
        assert!(error.to_string().contains(hint), "{error}");
    }
}

#[test]
fn unknown_keys_are_listed_and_counted() {
    let dir = tempdir().unwrap();
    let mut file = transformer("");
    for i in 0..8 {
        file = file.zeros(&format!("odd.{i}"), ElementType::BF16, &[1]);
    }
    let path = file.write(dir.path().join("x.safetensors"));
    let message = Weights::open(&path, Component::Transformer)
        .unwrap_err()
        .to_string();
    assert!(
        message.ends_with(
            "8 of its tensors are not known in a transformer: \
             odd.0, odd.1, odd.2, odd.3, odd.4 and 3 more"
        ),
        "{message}"
    );
}

#[test]
fn integer_weights_are_refused() {
    let dir = tempdir().unwrap();
    for dtype in [
        ElementType::U8,
        ElementType::I8,
        ElementType::F8E4M3Fnuz,
        ElementType::F8E8M0,
        ElementType::F4,
    ] {
        let path = transformer("")
            .zeros("img_in.weight", dtype, &[4, 4])
            .write(dir.path().join("x.safetensors"));
        let error = Weights::open(&path, Component::Transformer).unwrap_err();
        assert!(
            matches!(error, LoadError::UnsupportedDtype { .. }),
            "{error}"
        );
    }
}

#[test]
fn layers_that_end_oddly_are_not_known() {
    let dir = tempdir().unwrap();
    for key in [
        "transformer_blocks.00.attn.to_q.weight",
        "transformer_blocks.x.attn.to_q.weight",
        "transformer_blocks.0.attn.to_q.weight.extra",
        "transformer_blocks.0.attn.norm_q.bias",
        "img_in.gamma",
        "time_text_embed.addition_t_embedding.weight",
    ] {
        let path = transformer("")
            .zeros(key, ElementType::BF16, &[1])
            .write(dir.path().join("x.safetensors"));
        let error = Weights::open(&path, Component::Transformer).unwrap_err();
        assert!(
            matches!(error, LoadError::UnknownKeys { .. }),
            "{key}: {error}"
        );
    }
}
