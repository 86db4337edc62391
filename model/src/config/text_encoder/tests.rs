use serde_json::json;

use super::*;

/// A shape of the 7B model; `None` for what it does not have.
fn published(name: &str) -> Option<Vec<usize>> {
    let Some(rest) = name.strip_prefix("model.layers.") else {
        return match name {
            "model.embed_tokens.weight" => Some(vec![152_064, 3584]),
            "model.norm.weight" => Some(vec![3584]),
            _ => None,
        };
    };
    let (layer, tensor) = rest.split_once('.')?;
    if layer.parse::<usize>().ok()? >= 28 {
        return None;
    }
    match tensor {
        "self_attn.q_proj.weight" | "self_attn.o_proj.weight" => Some(vec![3584, 3584]),
        "self_attn.k_proj.weight" => Some(vec![512, 3584]),
        "mlp.gate_proj.weight" => Some(vec![18_944, 3584]),
        "mlp.down_proj.weight" => Some(vec![3584, 18_944]),
        _ => None,
    }
}

/// The published config's fields that matter, with these changed.
fn resolve(changes: &Value) -> Result<TextEncoderConfig, ConfigError> {
    let mut config = json!({
        "model_type": "qwen2_5_vl",
        "hidden_act": "silu",
        "rms_norm_eps": 1e-6,
        "rope_theta": 1e6,
        "rope_scaling": {"mrope_section": [16, 24, 24], "rope_type": "default", "type": "default"},
        "use_sliding_window": false,
        "sliding_window": 32_768,
        "max_window_layers": 28,
        "tie_word_embeddings": false
    });
    for (field, value) in changes.as_object().unwrap() {
        config[field] = value.clone();
    }
    TextEncoderConfig::resolve(Some(&config), &published)
}

#[test]
fn the_published_config_and_none_give_the_published_sizes() {
    assert_eq!(resolve(&json!({})), Ok(TextEncoderConfig::published()));
    let bare = TextEncoderConfig::resolve(None, &published);
    assert_eq!(bare, Ok(TextEncoderConfig::published()));
}

#[test]
fn fields_that_change_the_embeddings_are_refused() {
    for (field, value) in [
        ("rope_scaling", json!({"type": "yarn", "factor": 4.0})),
        (
            "rope_scaling",
            json!({"rope_type": "linear", "factor": 2.0}),
        ),
        ("rope_scaling", json!({"rope_type": 1})),
        ("hidden_act", json!("gelu")),
        (
            "layer_types",
            json!(["full_attention", "sliding_attention"]),
        ),
        ("model_type", json!("qwen3_vl")),
        ("rms_norm_eps", json!(0)),
        ("rope_theta", json!(-1)),
    ] {
        let refused = resolve(&json!({field: value}));
        let said = refused.map_err(|error| error.to_string()).unwrap_err();
        assert!(said.contains(field), "{said}");
    }
    let yarn = json!({"rope_scaling": null, "rope_parameters": {"rope_type": "yarn"}});
    let said = resolve(&yarn).unwrap_err().to_string();
    assert!(
        said.contains("rope_parameters = ") && said.contains("yarn"),
        "{said}"
    );
    let per_kind = json!({"rope_scaling": null, "rope_parameters": {"full_attention": {}}});
    assert!(resolve(&per_kind).is_err());
    let window = json!({"use_sliding_window": true, "max_window_layers": 20});
    let said = resolve(&window).unwrap_err().to_string();
    assert!(said.contains("use_sliding_window"), "{said}");
    // No layer is behind the last one that sees everything.
    assert!(resolve(&json!({"use_sliding_window": true})).is_ok());
}

#[test]
fn constants_come_from_where_transformers_takes_them() {
    let theta = |changes: Value| resolve(&changes).unwrap().rope_theta;
    assert_eq!(theta(json!({"rope_theta": 5e5})), 5e5);
    let own = json!({"rope_scaling": {"type": "mrope", "rope_theta": 2e5}});
    assert_eq!(theta(own), 2e5);
    let later = json!({"rope_scaling": null, "rope_parameters": {"rope_theta": 3e5}});
    assert_eq!(theta(later), 3e5);
    let eps = |changes: Value| resolve(&changes).unwrap().rms_norm_eps;
    assert_eq!(eps(json!({"rms_norm_eps": 2e-6})), 2e-6);
    assert_eq!(eps(json!({"rms_norm_eps": null})), 1e-5);
}

#[test]
fn a_file_of_the_published_width_that_lacks_layers_is_no_smaller_model() {
    let short = |name: &str| published(name).filter(|_| !name.starts_with("model.layers.27."));
    let refused = TextEncoderConfig::resolve(None, &short).unwrap_err();
    assert!(
        refused.to_string().contains("27 of the 28 layers"),
        "{refused}"
    );
    let pruned = json!({"num_hidden_layers": 27});
    let sizes = TextEncoderConfig::resolve(Some(&pruned), &short).unwrap();
    assert_eq!(
        (sizes.num_hidden_layers, sizes.published_layers()),
        (27, Some(28))
    );
}
