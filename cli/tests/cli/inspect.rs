//! `inspect`.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::safetensors_file::edit;
use crate::support::{Place, Run, fixtures, program};

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
        assert_eq!((run.code, &run.stderr), (3, &generate), "{more:?}");
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
