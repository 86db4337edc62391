//! The reference fixtures of the workspace, in all layouts that their script writes.

use std::path::{Path, PathBuf};

use loader::dialect::Dialect;
use loader::{Component, ModelFiles, Weights};

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures")
}

#[test]
fn whole_models_are_found_and_opened() {
    for (folder, dialects) in [
        (
            "comfyui",
            [Dialect::PlainFp8, Dialect::LegacyScaled, Dialect::Dense],
        ),
        ("diffusers", [Dialect::Dense; 3]),
    ] {
        let found = ModelFiles::discover(&fixtures().join(folder)).unwrap();
        assert!(found.tokenizer.is_some());
        assert_eq!(found.scheduler.is_some(), folder == "diffusers");
        let parts = [
            (found.transformer, Component::Transformer),
            (found.text_encoder, Component::TextEncoder),
            (found.vae, Component::Vae),
        ];
        for ((found, component), dialect) in parts.into_iter().zip(dialects) {
            let weights = Weights::of(found.unwrap().open().unwrap(), component).unwrap();
            assert_eq!(weights.dialect(), dialect);
            assert!(weights.config().is_some());
        }
    }
}

#[test]
fn single_files_of_every_dialect_are_opened() {
    for (file, dialect) in [
        (
            "transformers/small_comfy_quant.safetensors",
            Dialect::ComfyQuant,
        ),
        (
            "transformers/small_comfy_quant_e5m2.safetensors",
            Dialect::ComfyQuant,
        ),
        (
            "transformers/small_fp8mixed.safetensors",
            Dialect::QuantizationMetadata,
        ),
        (
            "transformers/tiny_activations_f32.safetensors",
            Dialect::Dense,
        ),
        (
            "transformers/head128_fp8_e4m3fn.safetensors",
            Dialect::PlainFp8,
        ),
        (
            "text_encoders/tiny_activations_bf16.safetensors",
            Dialect::Dense,
        ),
    ] {
        let weights = Weights::open_any(&fixtures().join(file)).unwrap();
        assert_eq!(weights.dialect(), dialect, "{file}");
        let in_folder = match weights.component() {
            Component::Transformer => "transformers/",
            Component::TextEncoder => "text_encoders/",
            Component::Vae => "",
        };
        assert!(file.starts_with(in_folder));
    }
}
