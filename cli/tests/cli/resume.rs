//! `--resume`: which images are the same.

use std::fs;

use crate::from::{from, with_text};
use crate::from_recipe::recipe;
use crate::lora::{EVERYWHERE, STYLE, place};
use crate::support::Place;

/// Tells whether a run finds the image of the one before.
fn is_skipped(place: &Place, more: &[&str]) -> bool {
    let run = place.generate(&[&["--resume"], more].concat()).expect(0);
    run.stderr.contains("skipping ")
}

#[test]
fn another_number_format_is_another_image() {
    let place = Place::new();
    assert!(!is_skipped(&place, &[]));
    // The processor's own format, named or not.
    assert!(is_skipped(&place, &["--dtype=f32"]));
    assert!(!is_skipped(&place, &["--dtype=bf16"]));
    assert!(is_skipped(&place, &["--dtype=bf16"]));
    assert!(!is_skipped(&place, &[]));
}

#[test]
fn an_image_that_was_cut_is_made_again() {
    for name in ["out/x.png", "out/x.jpg", "out/x.webp"] {
        let place = Place::new();
        let file = place.path(name);
        assert!(!is_skipped(&place, &["--output", name]));
        let whole = fs::read(&file).unwrap();
        for bytes in [1, 20, 200] {
            fs::write(&file, &whole[..whole.len() - bytes]).unwrap();
            assert!(!is_skipped(&place, &["--output", name]), "{name}, {bytes}");
            assert!(fs::read(&file).unwrap() == whole, "{name}, {bytes}");
        }
        assert!(is_skipped(&place, &["--output", name]));
    }
}

#[test]
fn another_vae_or_text_encoder_is_another_image() {
    let place = Place::new();
    assert!(!is_skipped(&place, &[]));
    assert!(is_skipped(&place, &[]));
    for file in [place.vae(), place.text_encoder()] {
        fs::rename(&file, file.with_file_name("other.safetensors")).unwrap();
        assert!(!is_skipped(&place, &[]));
        assert!(is_skipped(&place, &[]));
    }
}

#[test]
fn another_lora_of_the_same_name_is_another_image() {
    let place = place();
    let flags = ["--lora", STYLE];
    assert!(!is_skipped(&place, &flags));
    assert!(is_skipped(&place, &flags));
    let loras = place.path("models/loras");
    fs::copy(loras.join(EVERYWHERE), loras.join(STYLE)).unwrap();
    assert!(!is_skipped(&place, &flags));
    assert!(is_skipped(&place, &flags));
}

#[test]
fn recipes_of_earlier_versions_are_followed_and_not_taken_for_the_same() {
    let place = place();
    place.generate(&["--lora", STYLE]).expect(0);
    let whole = fs::read(place.path("out/x.png")).unwrap();
    let mut old = recipe(&place, "out/x.png");
    let fields = old.as_object_mut().unwrap();
    for field in ["dtype", "vae", "text_encoder"] {
        assert!(fields.remove(field).is_some(), "{field}");
    }
    let lora = old["loras"][0].as_object_mut().unwrap();
    assert!(lora.remove("stamp").is_some());
    with_text(
        &place.path("out/x.png"),
        "qwen-image-burn",
        &old.to_string(),
    );
    from(&place, "out/x.png", &["-oout/y.png"]).expect(0);
    assert_eq!(fs::read(place.path("out/y.png")).unwrap(), whole);
    assert!(!is_skipped(&place, &["--lora", STYLE]));
}

#[test]
fn help_says_what_is_compared() {
    let run: crate::support::Run = crate::support::program()
        .args(["generate", "--help"])
        .output()
        .unwrap()
        .into();
    let help = run.expect(0).stdout;
    let (_, help) = help.split_once("\n      --resume\n").unwrap();
    let help = help.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(
        help.contains("number format") && help.contains("samples spread over their contents"),
        "{help}"
    );
}

/// Changes the last byte of a file, and nothing that its length, its head or its time of
/// modification tells.
fn change_the_end(file: &std::path::Path) {
    let modified = fs::metadata(file).unwrap().modified().unwrap();
    let mut bytes = fs::read(file).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(file, bytes).unwrap();
    let file = fs::File::options().write(true).open(file).unwrap();
    file.set_modified(modified).unwrap();
}

#[test]
fn other_contents_under_the_same_name_are_another_image() {
    let place = place();
    let flags = ["--lora", STYLE];
    assert!(!is_skipped(&place, &flags));
    let lora = place.path("models/loras").join(STYLE);
    for file in [place.transformer(), place.text_encoder(), place.vae(), lora] {
        assert!(is_skipped(&place, &flags), "{file:?}");
        change_the_end(&file);
        let run = from(&place, "out/x.png", &["-oout/y.png"]).expect(0);
        let name = file.file_stem().unwrap().to_str().unwrap();
        let told = run.stderr.lines().any(|line| {
            line.starts_with("note: ") && line.contains("another file") && line.contains(name)
        });
        assert!(told, "{name}: {}", run.stderr);
        assert!(!is_skipped(&place, &flags), "{file:?}");
    }
    // Where the files lie makes no difference.
    fs::rename(place.path("models"), place.path("moved")).unwrap();
    assert!(is_skipped(&place, &["--models=moved", flags[0], flags[1]]));
}

#[test]
fn recipes_without_digests_are_compared_by_names() {
    let place = place();
    place.generate(&["--lora", STYLE]).expect(0);
    let mut old = recipe(&place, "out/x.png");
    let fields = old.as_object_mut().unwrap();
    for field in ["model_digest", "text_encoder_digest", "vae_digest"] {
        assert!(fields.remove(field).is_some(), "{field}");
    }
    let lora = old["loras"][0].as_object_mut().unwrap();
    assert!(lora.remove("digest").is_some());
    with_text(
        &place.path("out/x.png"),
        "qwen-image-burn",
        &old.to_string(),
    );
    let run = from(&place, "out/x.png", &["-oout/y.png"]).expect(0);
    assert!(!run.stderr.contains("another file"), "{}", run.stderr);
    assert!(is_skipped(&place, &["--lora", STYLE]));
}
