//! Files of all models in one, as ComfyUI's `checkpoints` folder has them.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::safetensors_file::File;
use crate::support::{Place, Run, program};

/// The models of a place in one file, with ComfyUI's prefixes, and out of their folders.
fn combined(place: &Place) -> PathBuf {
    let mut all = File {
        metadata: json!({}),
        tensors: Vec::new(),
    };
    let mut configs = json!({});
    for (path, name, prefix) in [
        (place.transformer(), "transformer", "model.diffusion_model."),
        (
            place.text_encoder(),
            "text_encoder",
            "text_encoders.qwen25_7b.transformer.",
        ),
        (place.vae(), "vae", "vae."),
    ] {
        let file = File::read(&path);
        let config = file.metadata["config"].as_str().unwrap();
        configs[name] = serde_json::from_str::<Value>(config).unwrap();
        all.tensors
            .extend(file.tensors.into_iter().map(|mut entry| {
                entry.key.insert_str(0, prefix);
                entry
            }));
        fs::remove_file(path).unwrap();
    }
    all.metadata["config"] = configs.to_string().into();
    let path = place.path("models/checkpoints/all.safetensors");
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    all.write(&path);
    path
}

fn image(place: &Place) -> Vec<f32> {
    let trace = File::read(&place.path("out/t.safetensors"));
    trace.get("image").f32s()
}

#[test]
fn a_file_of_all_models_draws_what_they_draw_alone() {
    const TRACE: [&str; 2] = ["--trace", "out/t.safetensors"];
    let alone = Place::new();
    alone.generate(&TRACE).expect(0);
    let expected = image(&alone);

    let place = Place::new();
    let all = combined(&place);
    let all = all.to_str().unwrap();
    let tokenizer = place.path("models/tokenizer");
    // In the models folder, by its own flag, and in the place of any part.
    let said = place.generate(&TRACE).expect(0).stderr;
    assert_eq!(image(&place), expected);
    for part in ["Loaded 77 of ", ": the transformer (", ": transformer all"] {
        assert!(said.contains(part), "{part}: {said}");
    }
    let sources: [&[&str]; 3] = [
        &["--checkpoint", all],
        &["--transformer", all, "--text-encoder", all, "--vae", all],
        &["--checkpoint", all, "--vae", all],
    ];
    for flags in sources {
        let mut command = program();
        command
            .current_dir(place.path("."))
            .args(["generate", "--prompt", "a red fox", "--backend", "flex"])
            .args([
                "--width", "48", "--height", "32", "--steps", "2", "--seed", "9",
            ])
            .args(["--output", "out/y.png", "--tokenizer"])
            .arg(&tokenizer)
            .args(flags)
            .args(TRACE);
        Run::from(command.output().unwrap()).expect(0);
        assert_eq!(image(&place), expected, "{flags:?}");
    }
    let inspected = Run::from(program().arg("inspect").arg(all).output().unwrap()).expect(0);
    for part in ["text encoder", "transformer", "VAE"] {
        assert!(
            inspected.stdout.contains(part),
            "{part}: {}",
            inspected.stdout
        );
    }
}

#[test]
fn what_a_checkpoint_lacks_is_named() {
    let place = Place::new();
    let transformer = place.transformer();
    let transformer = transformer.to_str().unwrap();
    let run = |flags: &[&str]| {
        let mut command = program();
        command
            .current_dir(place.path("."))
            .args([
                "generate",
                "-q",
                "--prompt",
                "x",
                "--backend",
                "flex",
                "-o",
                "out/x.png",
            ])
            .args(flags);
        Run::from(command.output().unwrap())
    };
    // What it holds counts, and the rest comes from elsewhere.
    let small = ["--width", "48", "--height", "32", "--steps", "2"];
    let with_models = ["--checkpoint", transformer, "--models", "models"];
    run(&[&with_models[..], &small[..]].concat()).expect(0);
    fs::remove_file(place.path("out/x.png")).unwrap();
    run(&["--checkpoint", transformer])
        .expect_error(3, &["holds no text encoder", "--text-encoder"]);
    run(&["--checkpoint", "nowhere.safetensors"]).expect_error(3, &["nowhere.safetensors"]);
    let odd = place.path("odd.safetensors");
    File {
        metadata: Value::Null,
        tensors: vec![crate::safetensors_file::Entry::new(
            "x",
            "F32",
            &[1],
            vec![0; 4],
        )],
    }
    .write(&odd);
    run(&["--checkpoint", "odd.safetensors"]).expect_error(3, &["not a Qwen-Image"]);
    assert!(!Path::new(&place.path("out/x.png")).exists());
}
