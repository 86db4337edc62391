//! Files of the right model that would give a wrong image: numbers that are not finite, and configs
//! that ask for what is not computed here.

use serde_json::json;

use crate::safetensors_file::{File, edit};
use crate::support::{Place, fixtures};

#[test]
fn config_fields_that_are_not_computed_here() {
    let place = Place::new();
    for (path, changes) in [
        (
            place.text_encoder(),
            json!({"rope_scaling": {"rope_type": "yarn", "factor": 4.0}}),
        ),
        (place.text_encoder(), json!({"hidden_act": "gelu"})),
        (
            place.text_encoder(),
            json!({"layer_types": ["full_attention", "sliding_attention"]}),
        ),
        (place.transformer(), json!({"guidance_embeds": true})),
        (place.vae(), json!({"attn_scales": [0.5]})),
        (place.vae(), json!({"is_residual": true})),
    ] {
        let whole = File::read(&path);
        let mut changed = whole.clone();
        let (field, value) = changes.as_object().unwrap().iter().next().unwrap();
        changed.edit_config(|config| match config.get_mut("text_config") {
            Some(text) => text[field] = value.clone(),
            None => config[field] = value.clone(),
        });
        changed.write(&path);
        place.refuses(&[], &[field, ".safetensors"]);
        whole.write(&path);
    }
}

#[test]
fn numbers_in_a_file_that_are_not_finite() {
    let infinity = f32::INFINITY.to_le_bytes();
    for (path, key, code) in [
        (
            Place::transformer as fn(&Place) -> std::path::PathBuf,
            "transformer_blocks.1.attn.to_q.weight",
            vec![0x7f],
        ),
        (
            Place::transformer,
            "transformer_blocks.0.img_mlp.net.2.weight",
            vec![0xff],
        ),
        (
            Place::text_encoder,
            "model.layers.1.mlp.down_proj.weight",
            vec![0x7f],
        ),
    ] {
        let place = Place::new();
        edit(path(&place), |file| {
            let entry = file.get_mut(key);
            assert_eq!(entry.dtype, "F8_E4M3");
            entry.bytes[..1].copy_from_slice(&code);
        });
        place.refuses(&[], &[key, "not finite", ".safetensors"]);
    }
    // The VAE's encoder, in a run that begins with an image.
    let place = Place::new();
    let key = "encoder.conv1.bias";
    edit(place.vae(), |file| {
        let entry = file.get_mut(key);
        let bytes = match entry.dtype.as_str() {
            "F32" => infinity.to_vec(),
            _ => vec![0x80, 0x7f],
        };
        entry.bytes[..bytes.len()].copy_from_slice(&bytes);
    });
    let image = fixtures().join("images/scene_48x32.png");
    place.refuses(
        &["--init-image", image.to_str().unwrap()],
        &[key, "not finite", ".safetensors"],
    );
}
