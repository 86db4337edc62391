//! `inspect`.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::safetensors_file::{Entry, File, edit};
use crate::support::{Place, Run, copy_tree, fixtures, program};

fn inspect(path: &Path, more: &[&str]) -> Run {
    program()
        .arg("inspect")
        .arg(path)
        .args(more)
        .output()
        .unwrap()
        .into()
}

fn json(path: &Path) -> Value {
    serde_json::from_str(&inspect(path, &["--json"]).expect(0).stdout).unwrap()
}

#[test]
fn a_file_is_described() {
    let place = Place::new();
    let text = inspect(&place.transformer(), &[]).expect(0).stdout;
    for part in [
        "transformer",
        "plain FP8",
        "F8_E4M3",
        "77 tensors",
        "num_layers",
    ] {
        assert!(text.contains(part), "no `{part}` in {text}");
    }
    let text = inspect(&place.text_encoder(), &[]).expect(0).stdout;
    for part in [
        "text encoder",
        "scale_weight",
        "BF16",
        "110 tensors",
        "vocab_size",
    ] {
        assert!(text.contains(part), "no `{part}` in {text}");
    }
    assert!(inspect(&place.vae(), &[]).expect(0).stdout.contains("VAE"));
}

#[test]
fn json_has_figures_and_the_config() {
    let place = Place::new();
    let json = json(&place.transformer());
    let checkpoint = &json["checkpoints"][0];
    assert_eq!(checkpoint["component"], "transformer");
    assert_eq!(checkpoint["dialect"], "plain_fp8");
    assert_eq!(checkpoint["tensors"], 77);
    assert_eq!(checkpoint["dtypes"]["F8_E4M3"]["tensors"], 77);
    assert!(checkpoint["dtypes"]["F8_E4M3"]["bytes"].as_u64().unwrap() > 0);
    assert_eq!(checkpoint["config"]["num_layers"], 2);
}

#[test]
fn every_layout_of_the_fixtures_is_recognised() {
    for (path, dialect) in [
        ("transformers/small_comfy_quant.safetensors", "comfy_quant"),
        (
            "transformers/small_fp8mixed.safetensors",
            "quantization_metadata",
        ),
        ("transformers/tiny_activations_f32.safetensors", "dense"),
        ("text_encoders/tiny_activations_bf16.safetensors", "dense"),
        ("diffusers/transformer", "dense"),
        (
            "diffusers/text_encoder/model.safetensors.index.json",
            "dense",
        ),
        ("diffusers/vae", "dense"),
    ] {
        let json = json(&fixtures().join(path));
        assert_eq!(json["checkpoints"][0]["dialect"], dialect, "{path}");
    }
}

#[test]
fn a_whole_folder_shows_its_parts_and_the_tokenizer() {
    for fixture in ["comfyui", "diffusers"] {
        let json = json(&fixtures().join(fixture));
        let components: Vec<&str> = json["checkpoints"]
            .as_array()
            .unwrap()
            .iter()
            .map(|checkpoint| checkpoint["component"].as_str().unwrap())
            .collect();
        assert_eq!(components, ["text_encoder", "transformer", "vae"]);
        assert!(
            json["tokenizer"]["path"]
                .as_str()
                .unwrap()
                .ends_with("tokenizer")
        );
        assert!(json["tokenizer"]["tokens"].as_u64().unwrap() > 500);
        let text = inspect(&fixtures().join(fixture), &[]).expect(0).stdout;
        assert!(text.contains("tokenizer"), "{text}");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_path_that_is_no_text_is_shown_as_far_as_it_is_one() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    let place = Place::new();
    let folder = place.path("").join(OsStr::from_bytes(b"mod\xffels"));
    fs::rename(place.path("models"), &folder).unwrap();
    let models = json(&folder);
    let path = models["tokenizer"]["path"].as_str().unwrap();
    assert!(path.ends_with("mod\u{fffd}els/tokenizer"), "{path}");
    let image = folder.join("x.png");
    fs::copy(fixtures().join("images/alpha.png"), &image).unwrap();
    let path = &json(&image)["image"]["path"];
    assert!(path.as_str().unwrap().ends_with("mod\u{fffd}els/x.png"));
}

#[test]
fn a_folder_shows_all_that_is_in_it() {
    let place = Place::new();
    copy_tree(&fixtures().join("loras"), &place.path("models/loras"));
    let sources = |json: &Value, kind: &str| -> Vec<String> {
        let found = json[kind].as_array().unwrap().iter();
        let sources = found.map(|found| Path::new(found["source"].as_str().unwrap()));
        let name = |path: &Path| path.file_name().unwrap().to_str().unwrap().to_owned();
        sources.map(name).collect()
    };
    let loras = [
        "small_everywhere.safetensors",
        "small_patterns.safetensors",
        "small_style.safetensors",
    ];
    let models = json(&place.path("models"));
    assert_eq!(models["checkpoints"].as_array().unwrap().len(), 3);
    assert_eq!(sources(&models, "loras"), loras);
    let text = inspect(&place.path("models"), &[]).expect(0).stdout;
    assert_eq!(text.split("\n\n").count(), 7, "{text}");
    assert_eq!(sources(&json(&place.path("models/loras")), "loras"), loras);

    let tokenizer = json(&place.path("models/tokenizer"));
    assert!(tokenizer["tokenizer"]["tokens"].as_u64().unwrap() > 500);
    let text = inspect(&place.path("models/tokenizer"), &[])
        .expect(0)
        .stdout;
    assert!(!text.starts_with('\n'), "{text}");

    let second = place.transformer().with_file_name("second.safetensors");
    fs::copy(place.transformer(), second).unwrap();
    let expected = [
        "qwen_image_small_fp8_e4m3fn.safetensors",
        "second.safetensors",
    ];
    let both = json(&place.path("models/diffusion_models"));
    assert_eq!(sources(&both, "checkpoints"), expected);
    let whole = json(&place.path("models"));
    assert_eq!(sources(&whole, "checkpoints")[1..3], expected);
}

#[test]
fn a_lora_of_a_folder_that_cannot_be_used_is_named_and_left_out() {
    let place = Place::new();
    fs::create_dir(place.path("models/loras")).unwrap();
    let key = "lora_unet_down_blocks_0.lora_up.weight";
    let other = File {
        metadata: Value::Null,
        tensors: vec![Entry::new(key, "F32", &[1, 1], vec![0; 4])],
    };
    other.write(&place.path("models/loras/other.safetensors"));
    let run = inspect(&place.path("models"), &["--json"]).expect(0);
    assert!(run.stderr.starts_with("note: left out: "), "{}", run.stderr);
    assert!(run.stderr.contains("other.safetensors"), "{}", run.stderr);
}

#[test]
fn what_cannot_be_loaded_is_exit_3_as_in_generate() {
    let place = Place::new();
    let bias = "transformer_blocks.1.attn.to_q.bias";
    edit(place.transformer(), |file| {
        file.tensors.retain(|entry| entry.key != bias);
    });
    let generate = place.generate(&["--quiet"]).expect(3).stderr;
    assert!(generate.contains(bias), "{generate}");
    let file = Path::new("models/diffusion_models/qwen_image_small_fp8_e4m3fn.safetensors");
    for (path, more) in [
        (file, &[][..]),
        (file, &["--json"]),
        (file, &["--read"]),
        (Path::new("models"), &[]),
    ] {
        let mut command = program();
        command.current_dir(place.path("")).arg("inspect");
        let run = Run::from(command.arg(path).args(more).output().unwrap());
        assert_eq!(run.code, 3, "{more:?}");
        // `--read` says before that it reads.
        assert!(run.stderr.ends_with(&generate), "{more:?}: {}", run.stderr);
        assert_eq!(run.stdout, "");
    }
}

#[test]
fn what_cannot_be_inspected_is_exit_3() {
    let place = Place::new();
    fs::write(place.path("page.safetensors"), "<html></html>").unwrap();
    for (name, part) in [
        ("nowhere", "no such"),
        ("page.safetensors", "web page"),
        ("out", "out"),
    ] {
        inspect(&place.path(name), &[]).expect_error(3, &[name, part]);
        inspect(&place.path(name), &["--json"]).expect_error(3, &[name]);
    }
}

#[test]
fn images_that_hold_no_recipe_are_told_apart_from_checkpoints() {
    let place = Place::new();
    for (name, kind) in [("x.bmp", "BMP"), ("x.gif", "GIF"), ("x.tiff", "TIFF")] {
        let path = place.path(name);
        image::RgbImage::new(4, 4).save(&path).unwrap();
        inspect(&path, &[]).expect_error(3, &[name, kind, "no recipe"]);
    }
    #[cfg(unix)]
    inspect(Path::new("/dev/null"), &[]).expect_error(3, &["/dev/null: is a device"]);
}
