//! Embeddings of earlier runs.

use std::fs;
use std::path::PathBuf;

use crate::safetensors_file::edit;
use crate::support::{Place, Run};

const LOADING: &str = "Loading the text encoder";
const CACHED: &str = "Prompt embeddings from the cache";

/// Runs `generate` with a cache in the test's own folder.
fn generate(place: &Place, more: &[&str]) -> Run {
    let mut command = place.command();
    command
        .env("XDG_CACHE_HOME", place.path("cache"))
        .env_remove("QWEN_IMAGE_CACHE")
        .args(["--output", "out/x.png"])
        .args(more);
    command.output().unwrap().into()
}

fn entries(place: &Place) -> Vec<PathBuf> {
    let Ok(folder) = fs::read_dir(place.path("cache/qwen-image-burn/prompts")) else {
        return Vec::new();
    };
    folder.map(|entry| entry.unwrap().path()).collect()
}

fn image(place: &Place) -> Vec<u8> {
    fs::read(place.path("out/x.png")).unwrap()
}

#[test]
fn the_second_run_does_without_the_text_encoder_and_draws_the_same() {
    let place = Place::new();
    let first = generate(&place, &[]).expect(0);
    assert!(first.stderr.contains(LOADING), "{}", first.stderr);
    let expected = image(&place);
    // The prompt and the negative prompt.
    assert_eq!(entries(&place).len(), 2);

    let second = generate(&place, &[]).expect(0);
    assert!(second.stderr.contains(CACHED), "{}", second.stderr);
    assert!(!second.stderr.contains(LOADING), "{}", second.stderr);
    assert_eq!(image(&place), expected);

    // Of a new prompt only the negative prompt is known.
    let third = generate(&place, &["-p", "a cat"]).expect(0);
    assert!(
        third.stderr.contains("1 of 2 from the cache"),
        "{}",
        third.stderr
    );
    assert!(third.stderr.contains(LOADING), "{}", third.stderr);
    assert_eq!(entries(&place).len(), 3);

    let without = generate(&place, &["--no-prompt-cache"]).expect(0);
    assert!(without.stderr.contains(LOADING), "{}", without.stderr);
    assert_eq!(image(&place), expected);
}

#[test]
fn records_are_of_all_phases() {
    let place = Place::new();
    generate(&place, &[]).expect(0);
    for flag in ["--trace=out/t.safetensors", "--report=out/r.json"] {
        let run = generate(&place, &[flag]).expect(0);
        assert!(run.stderr.contains(LOADING), "{}", run.stderr);
    }
}

#[test]
fn another_text_encoder_or_tokenizer_is_not_served_from_it() {
    let place = Place::new();
    generate(&place, &[]).expect(0);
    let before = image(&place);
    // Other weights in the same place.
    edit(place.text_encoder(), |file| {
        let bytes = &mut file.get_mut("model.norm.weight").bytes;
        bytes.iter_mut().step_by(2).for_each(|byte| *byte ^= 0x40);
    });
    let run = generate(&place, &[]).expect(0);
    assert!(run.stderr.contains(LOADING), "{}", run.stderr);
    let expected = image(&place);
    assert_ne!(expected, before);
    generate(&place, &["--no-prompt-cache"]).expect(0);
    assert_eq!(image(&place), expected);
    let other = generate(&place, &["--no-mmap"]).expect(0);
    assert!(other.stderr.contains(LOADING), "{}", other.stderr);
}

#[test]
fn a_damaged_entry_is_encoded_again() {
    let place = Place::new();
    generate(&place, &[]).expect(0);
    let expected = image(&place);
    for entry in entries(&place) {
        let mut bytes = fs::read(&entry).unwrap();
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
        fs::write(&entry, bytes).unwrap();
    }
    let run = generate(&place, &[]).expect(0);
    assert!(run.stderr.contains(LOADING), "{}", run.stderr);
    assert_eq!(image(&place), expected);
    let run = generate(&place, &[]).expect(0);
    assert!(run.stderr.contains(CACHED), "{}", run.stderr);
    assert_eq!(image(&place), expected);
}

#[test]
fn embeddings_that_are_not_finite_are_an_error_of_the_text_encoder_and_not_kept() {
    let place = Place::new();
    edit(place.text_encoder(), |file| {
        // BF16 NaNs.
        file.get_mut("model.norm.weight").bytes.fill(0xff);
    });
    for _ in 0..2 {
        let run = generate(&place, &[]).expect(3);
        let error = run.stderr.lines().last().unwrap();
        for part in ["error: ", "qwen_2.5_vl_small", "text encoder", "not finite"] {
            assert!(error.contains(part), "no `{part}` in {error}");
        }
        assert!(!run.stderr.contains("Loading the transformer"), "{error}");
        assert!(!run.stderr.contains("--dtype"), "{error}");
        assert_eq!(entries(&place).len(), 0);
    }
    assert_eq!(place.written(), [""; 0]);
}

#[test]
fn the_folder_can_be_named_and_the_demo_model_leaves_nothing() {
    let place = Place::new();
    let mut command = place.command();
    let run = command
        .env("QWEN_IMAGE_CACHE", place.path("mine"))
        .args(["-oout/x.png"])
        .output()
        .unwrap();
    Run::from(run).expect(0);
    assert_eq!(fs::read_dir(place.path("mine/prompts")).unwrap().count(), 2);

    let mut command = crate::support::program();
    let run = command
        .env("QWEN_IMAGE_CACHE", place.path("demo"))
        .current_dir(place.path("out"))
        .args([
            "generate",
            "--backend=flex",
            "-pfox",
            "-W16",
            "-H16",
            "--steps=2",
            "-oy.png",
        ])
        .output()
        .unwrap();
    Run::from(run).expect(0);
    assert!(!place.path("demo").exists());
}
