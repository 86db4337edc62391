//! Whole files that are not the model asked for: exit 3, one line, nothing written.

use std::fs;
use std::path::Path;

use engine::Error;
use engine::models::Part;
use engine::models::survey::{self, Sizes};
use model::{TextEncoderConfig, TransformerConfig, VaeConfig};
use serde_json::{Value, json};

use crate::safetensors_file::{Entry, File, edit};
use crate::support::{Place, Run, program};

#[test]
fn the_vae_given_as_transformer() {
    let place = Place::new();
    let vae = place.vae();
    let vae = vae.to_str().unwrap();
    place.refuses(&["--transformer", vae], &["VAE", "transformer", "--vae"]);
    place.refuses(&["--text-encoder", vae], &["VAE", "text encoder"]);
}

#[test]
fn a_model_of_another_kind() {
    let place = Place::new();
    let tensor = Entry::new(
        "double_blocks.0.img_attn.qkv.weight",
        "F32",
        &[1],
        vec![0; 4],
    );
    let file = File {
        metadata: Value::Null,
        tensors: vec![tensor],
    };
    file.write(&place.path("flux.safetensors"));
    place.refuses(
        &["--transformer", "flux.safetensors"],
        &["flux.safetensors"],
    );
}

#[test]
fn a_missing_tensor_in_each_model() {
    for (path, key) in [
        (
            Place::transformer as fn(&Place) -> _,
            "transformer_blocks.1.attn.to_k.weight",
        ),
        (Place::text_encoder, "model.layers.1.mlp.up_proj.weight"),
        (Place::vae, "decoder.head.2.weight"),
    ] {
        let place = Place::new();
        edit(path(&place), |file| {
            let layer = key.trim_end_matches("weight");
            file.get(key);
            // With its scales, which would otherwise be what is wrong.
            file.tensors.retain(|entry| {
                entry.key != key && !entry.key.starts_with(&format!("{layer}scale"))
            });
        });
        place.refuses(&[], &["missing", ".safetensors"]);
        // Told before anything is loaded, whichever model it is.
        assert!(!place.generate(&[]).stderr.contains("Loaded"));
    }
}

/// Opens and checks a model as `inspect` does, in this process.
fn checked<C: Sizes>(open: fn(&Path) -> Result<Part<C>, Error>, path: &Path) -> Result<(), Error> {
    survey::check(&open(path)?)
}

#[test]
fn whichever_tensor_is_missing_is_told_by_name() {
    let place = Place::new();
    let damaged = place.path("damaged.safetensors");
    type Check = fn(&Path) -> Result<(), Error>;
    for (path, check, canonical) in [
        (
            place.transformer(),
            (|path| checked(Part::<TransformerConfig>::open, path)) as Check,
            true,
        ),
        (
            place.text_encoder(),
            |path| checked(Part::<TextEncoderConfig>::open, path),
            true,
        ),
        // Its names are those of Wan, and told in diffusers'.
        (
            place.vae(),
            |path| checked(Part::<VaeConfig>::open, path),
            false,
        ),
    ] {
        let whole = File::read(&path);
        check(&path).unwrap();
        let mut told = 0;
        for key in whole.names() {
            let unused = ["encoder.", "conv1.", "visual.", "lm_head.", "scaled_fp8"];
            if unused.iter().any(|part| key.starts_with(part))
                || key.ends_with("scale_input")
                || key.contains(".time_conv.")
            {
                continue;
            }
            without(&whole, key).write(&damaged);
            let error = check(&damaged).unwrap_err().to_string();
            let (name, lacking) = fault(key);
            assert!(error.contains(lacking), "{key}: {error}");
            assert!(!canonical || error.contains(&name), "{key}: {error}");
            told += 1;
        }
        assert!(told > 20, "{told} tensors of {}", path.display());
    }
}

#[test]
fn inspect_tells_of_a_missing_tensor_or_scale_by_name() {
    let place = Place::new();
    let damaged = place.path("damaged.safetensors");
    for (path, key) in [
        (place.transformer(), "transformer_blocks.1.attn.to_k.weight"),
        (
            place.text_encoder(),
            "model.layers.1.mlp.up_proj.scale_weight",
        ),
    ] {
        without(&File::read(&path), key).write(&damaged);
        let mut inspect = program();
        let run = Run::from(inspect.arg("inspect").arg(&damaged).output().unwrap());
        let (name, lacking) = fault(key);
        run.expect_error(3, &[&name, lacking]);
    }
}

/// The file without a tensor, and without the scale of a weight.
fn without(whole: &File, key: &str) -> File {
    whole.get(key);
    let mut file = whole.clone();
    let scale = key
        .strip_suffix("weight")
        .map(|layer| format!("{layer}scale_weight"));
    file.tensors
        .retain(|entry| entry.key != key && Some(&entry.key) != scale.as_ref());
    file
}

/// The name and the fault that are told where a tensor is missing.
fn fault(key: &str) -> (String, &'static str) {
    match key.strip_suffix("scale_weight") {
        Some(layer) => (format!("{layer}weight"), "has no scale"),
        None => (key.to_owned(), "1 tensor missing ("),
    }
}

#[test]
fn a_tensor_of_another_width_is_told_by_name() {
    let place = Place::new();
    edit(place.vae(), |file| {
        // A row less, as of a damaged file.
        let entry = file.get_mut("decoder.upsamples.0.residual.2.weight");
        let row = entry.bytes.len() / entry.shape[0];
        entry.shape[0] -= 1;
        entry.bytes.truncate(row * entry.shape[0]);
    });
    place.refuses(
        &[],
        &["of the wrong shape (decoder.up_blocks.0.resnets.0.conv1.weight"],
    );
}

#[test]
fn a_shard_in_the_place_of_all() {
    let place = Place::with("diffusers");
    let shard = "models/transformer/diffusion_pytorch_model-00002-of-00002.safetensors";
    place.refuses(
        &["--transformer", shard],
        &["is shard 2 of 2", "index.json"],
    );
    let mut inspect = program();
    inspect.arg("inspect").arg(place.path(shard));
    Run::from(inspect.output().unwrap()).expect_error(3, &["is shard 2 of 2"]);
}

#[test]
fn scales_that_are_none_are_told_before_anything_is_loaded() {
    for bad in [0.0_f32, -1.0, f32::NAN, f32::INFINITY] {
        let place = Place::new();
        let scaled = crate::support::fixtures().join("transformers/small_comfy_quant.safetensors");
        let mut file = File::read(&scaled);
        let scale = file
            .tensors
            .iter_mut()
            .find(|entry| entry.key.ends_with(".weight_scale"))
            .unwrap();
        scale.bytes = bad.to_le_bytes().to_vec();
        let key = scale.key.clone();
        file.write(&place.transformer());
        let run = place.generate(&[]).expect(3);
        assert!(run.stderr.contains(&key), "{}", run.stderr);
        assert!(!run.stderr.contains("Loading"), "{}", run.stderr);
        let mut inspect = program();
        inspect
            .arg("inspect")
            .arg(place.transformer())
            .arg("--json");
        Run::from(inspect.output().unwrap()).expect_error(3, &[&key]);
    }
}

#[test]
fn a_tensor_too_many_in_each_model() {
    for path in [
        Place::transformer as fn(&Place) -> _,
        Place::text_encoder,
        Place::vae,
    ] {
        let place = Place::new();
        edit(path(&place), |file| {
            file.tensors
                .push(Entry::new("surprise.weight", "BF16", &[1], vec![0; 2]));
        });
        place.refuses(&[], &["surprise.weight"]);
    }
}

#[test]
fn a_misshapen_tensor() {
    let place = Place::new();
    edit(place.transformer(), |file| {
        let entry = file.get_mut("transformer_blocks.0.attn.to_q.weight");
        let [rows, columns] = entry.shape[..] else {
            panic!("no matrix")
        };
        entry.shape = vec![rows / 2, columns * 2];
    });
    place.refuses(&[], &["transformer_blocks.0.attn.to_q"]);
}

#[test]
fn a_config_that_contradicts_the_shapes() {
    for (path, field, value) in [
        (
            Place::transformer as fn(&Place) -> _,
            "num_layers",
            json!(3),
        ),
        (Place::transformer, "num_attention_heads", json!(5)),
        (Place::transformer, "joint_attention_dim", json!(48)),
        (Place::transformer, "axes_dims_rope", json!([4, 6, 8])),
        (Place::vae, "z_dim", json!(8)),
        (Place::vae, "base_dim", json!("wide")),
    ] {
        let place = Place::new();
        edit(path(&place), |file| {
            file.edit_config(|config| config[field] = value.clone())
        });
        place.refuses(&[], &["safetensors"]);
    }
    let place = Place::new();
    edit(place.text_encoder(), |file| {
        file.edit_config(|config| config["text_config"]["num_key_value_heads"] = json!(3));
    });
    place.refuses(&[], &["text_encoders"]);
}

#[test]
fn models_that_do_not_fit_each_other() {
    // A transformer for text vectors of another width than the encoder's.
    let place = Place::new();
    let wide = crate::support::fixtures().join("transformers/head128_fp8_e4m3fn.safetensors");
    let file = File::read(&wide);
    let width = file.get("txt_norm.weight").shape[0];
    let flags = ["--transformer", wide.to_str().unwrap()];
    if width == 32 {
        // The fixture fits: nothing to refuse.
        place.generate(&flags).expect(0);
    } else {
        place.refuses(&flags, &["text encoder"]);
    }
}

#[test]
fn quantisation_that_makes_no_sense() {
    let layer = "transformer_blocks.0.attn.to_q";
    let scale = |name: &str| Entry::new(name, "F32", &[], 1.0_f32.to_le_bytes().to_vec());
    let note = |text: &str| {
        let bytes = text.as_bytes().to_vec();
        Entry::new(&format!("{layer}.comfy_quant"), "U8", &[bytes.len()], bytes)
    };
    let damages: [&[Entry]; 6] = [
        // A scale of nothing.
        &[scale("transformer_blocks.9.attn.to_q.weight_scale")],
        // Both spellings at once.
        &[
            scale(&format!("{layer}.weight_scale")),
            scale(&format!("{layer}.scale_weight")),
        ],
        // Formats that are not FP8.
        &[note("{\"format\": \"nvfp4\"}")],
        &[note("{\"format\": 4}")],
        &[note("not json")],
        // Scales for two of many rows.
        &[Entry::new(
            &format!("{layer}.weight_scale"),
            "F32",
            &[2],
            vec![0; 8],
        )],
    ];
    for damage in damages {
        let place = Place::new();
        edit(place.transformer(), |file| {
            file.tensors.extend(damage.iter().cloned())
        });
        place.refuses(&[], &["qwen_image_small_fp8_e4m3fn.safetensors"]);
    }
    // A scale beside a weight that is not FP8; one of 1 changes nothing.
    let beside = |value: f32| {
        let place = Place::new();
        let key = "model.embed_tokens.scale_weight";
        let entry = Entry::new(key, "F32", &[], value.to_le_bytes().to_vec());
        edit(place.text_encoder(), |file| file.tensors.push(entry));
        place
    };
    beside(0.5).refuses(&[], &["model.embed_tokens.scale_weight", "0.5"]);
    beside(1.0).generate(&[]).expect(0);
}

#[test]
fn an_index_that_names_files_outside_or_not_there() {
    let index = "models/transformer/diffusion_pytorch_model.safetensors.index.json";
    let shard = "diffusion_pytorch_model-00002-of-00002.safetensors";
    for (name, part) in [
        ("/etc/passwd", "absolute"),
        (
            "../transformer/diffusion_pytorch_model-00002-of-00002.safetensors",
            "leave the folder",
        ),
        (
            "diffusion_pytorch_model-00003-of-00002.safetensors",
            "missing",
        ),
        (
            "./diffusion_pytorch_model-00002-of-00002.safetensors",
            "twice",
        ),
        ("", "folder"),
    ] {
        let place = Place::with("diffusers");
        let text = fs::read_to_string(place.path(index)).unwrap();
        let mut json: Value = serde_json::from_str(&text).unwrap();
        let map = json["weight_map"].as_object_mut().unwrap();
        // One of several tensors of the shard: the others still name it as it is.
        let entry = map.values_mut().find(|value| *value == shard).unwrap();
        *entry = name.into();
        fs::write(place.path(index), json.to_string()).unwrap();
        place.refuses(&[], &["models/transformer", part]);
    }
}

#[test]
fn shards_that_are_not_what_the_index_says() {
    let index = "models/transformer/diffusion_pytorch_model.safetensors.index.json";
    let place = Place::with("diffusers");
    fs::write(place.path(index), "{\"weight_map\": [1]}").unwrap();
    place.refuses(&[], &["index.json"]);

    let place = Place::with("diffusers");
    fs::remove_file(place.path(index)).unwrap();
    place.refuses(&[], &["transformer", "index.json"]);

    let place = Place::with("diffusers");
    fs::remove_file(
        place.path("models/transformer/diffusion_pytorch_model-00001-of-00002.safetensors"),
    )
    .unwrap();
    place.refuses(&[], &["diffusion_pytorch_model-00001-of-00002.safetensors"]);
}

#[test]
fn a_config_json_that_contradicts_the_shards() {
    let place = Place::with("diffusers");
    let path = place.path("models/transformer/config.json");
    let mut config: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
    config["num_layers"] = json!(7);
    fs::write(&path, config.to_string()).unwrap();
    place.refuses(&[], &["transformer"]);
    fs::write(&path, "{").unwrap();
    place.refuses(&[], &["config.json"]);
}

#[test]
fn a_scheduler_config_that_cannot_be_used() {
    let place = Place::with("diffusers");
    let path = place.path("models/scheduler/scheduler_config.json");
    fs::write(&path, "{").unwrap();
    place.refuses(&[], &["scheduler_config.json"]);
    fs::write(&path, "{\"time_shift_type\": \"sideways\"}").unwrap();
    place.refuses(&[], &["scheduler_config.json", "time_shift_type"]);
}

#[test]
fn two_models_of_a_kind_need_a_choice() {
    let place = Place::new();
    fs::copy(
        place.transformer(),
        place.path("models/diffusion_models/other.safetensors"),
    )
    .unwrap();
    place.refuses(&[], &["--transformer", "other.safetensors"]);
    let chosen = place.transformer();
    place
        .generate(&["--transformer", chosen.to_str().unwrap()])
        .expect(0);
}

#[test]
fn a_models_folder_without_one_of_them() {
    for (path, flag) in [
        (
            Place::transformer as fn(&Place) -> std::path::PathBuf,
            "--transformer",
        ),
        (Place::text_encoder, "--text-encoder"),
        (Place::vae, "--vae"),
    ] {
        let place = Place::new();
        fs::remove_file(path(&place)).unwrap();
        place.refuses(&[], &["models", flag]);
    }
}
