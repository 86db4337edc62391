//! Modulations of earlier runs.

use std::fs;
use std::path::PathBuf;

use crate::safetensors_file::edit;
use crate::support::{Place, Run};

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
    let Ok(folder) = fs::read_dir(place.path("cache/qwen-image-burn/modulations")) else {
        return Vec::new();
    };
    folder.map(|entry| entry.unwrap().path()).collect()
}

fn image(place: &Place) -> Vec<u8> {
    fs::read(place.path("out/x.png")).unwrap()
}

/// An image drawn without a cache.
fn expected(place: &Place, more: &[&str]) -> Vec<u8> {
    let mut more = more.to_vec();
    more.push("--no-prompt-cache");
    let before = entries(place);
    generate(place, &more).expect(0);
    assert_eq!(entries(place).len(), before.len());
    image(place)
}

#[test]
fn the_second_run_draws_the_same() {
    let place = Place::new();
    generate(&place, &["--steps", "3"]).expect(0);
    let first = image(&place);
    assert_eq!(entries(&place).len(), 3);
    generate(&place, &["--steps", "3"]).expect(0);
    assert_eq!(image(&place), first);
    assert_eq!(expected(&place, &["--steps", "3"]), first);
    // Another size has other timesteps, but for the first.
    generate(&place, &["--steps", "3", "--width=64", "--height=64"]).expect(0);
    let other = image(&place);
    assert!(entries(&place).len() > 3);
    assert_eq!(
        expected(&place, &["--steps", "3", "--width=64", "--height=64"]),
        other
    );
}

#[test]
fn records_are_of_all_phases() {
    let place = Place::new();
    for flag in ["--trace=out/t.safetensors", "--report=out/r.json"] {
        generate(&place, &[flag]).expect(0);
        assert_eq!(entries(&place).len(), 0, "{flag}");
    }
}

#[test]
fn another_transformer_is_not_served_from_it() {
    let place = Place::new();
    generate(&place, &[]).expect(0);
    let before = image(&place);
    let count = entries(&place).len();
    // Other weights in the same place.
    edit(place.transformer(), |file| {
        let bytes = &mut file.get_mut("transformer_blocks.0.img_mod.1.bias").bytes;
        bytes
            .iter_mut()
            .skip(1)
            .step_by(2)
            .for_each(|byte| *byte ^= 0x80);
    });
    generate(&place, &[]).expect(0);
    let after = image(&place);
    assert_ne!(after, before);
    assert_eq!(entries(&place).len(), 2 * count);
    assert_eq!(expected(&place, &[]), after);
}

#[test]
fn a_lora_and_its_weight_are_part_of_an_entry() {
    let place = crate::lora::place();
    let mut images = Vec::new();
    for lora in [None, Some("small_everywhere"), Some("small_everywhere:0.5")] {
        let mut flags = vec!["--steps=2"];
        flags.extend(lora.into_iter().flat_map(|lora| ["--lora", lora]));
        generate(&place, &flags).expect(0);
        let first = image(&place);
        assert_eq!(entries(&place).len(), 2 * (images.len() + 1), "{lora:?}");
        generate(&place, &flags).expect(0);
        assert_eq!(image(&place), first, "{lora:?}");
        assert_eq!(expected(&place, &flags), first, "{lora:?}");
        assert!(!images.contains(&first), "{lora:?}");
        images.push(first);
    }
}
