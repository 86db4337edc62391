//! Flags and files about an image to start from that are refused: one line, and nothing written.

use std::fs;

use crate::init_image::image;
use crate::safetensors_file::edit;
use crate::support::Place;

#[test]
fn flags_that_make_no_sense_are_refused() {
    let place = Place::new();
    let scene = image("scene_48x32.png");
    for (flags, parts) in [
        (vec!["--mask", &scene], ["--mask", "--init-image"]),
        (vec!["--strength", "0.5"], ["--strength", "--init-image"]),
        (
            vec!["--init-image", &scene, "--strength", "0"],
            ["--strength", "not 0"],
        ),
        (
            vec!["--init-image", &scene, "--strength", "1.01"],
            ["--strength", "not 1.01"],
        ),
        (
            vec!["--init-image", &scene, "--strength", "-1"],
            ["--strength", "not -1"],
        ),
        (
            vec!["--init-image", &scene, "--strength", "NaN"],
            ["--strength", "not NaN"],
        ),
        (
            vec!["--init-image", &scene, "--strength", "half"],
            ["--strength", "half"],
        ),
        (
            vec!["--init-image", "out/x.png"],
            ["--init-image", "out/x.png"],
        ),
        (
            vec!["--init-image", &scene, "--mask", "out/x.png"],
            ["--mask", "out/x.png"],
        ),
        (
            vec!["--init-image", &scene, "--strength", "1e-300"],
            ["--strength", "steps"],
        ),
    ] {
        place.generate(&flags).expect_error(2, &parts);
        assert_eq!(place.written(), [""; 0]);
    }
}

#[test]
fn a_file_that_is_no_image_is_refused() {
    let place = Place::new();
    fs::write(place.path("text.png"), "a red fox").unwrap();
    let parts = ["text.png", "is not an image"];
    place.refuses(&["--init-image", "text.png"], &parts);
    let scene = image("scene_48x32.png");
    place.refuses(&["--init-image", &scene, "--mask", "text.png"], &parts);
}

#[test]
fn a_vae_without_an_encoder_is_refused_where_one_is_needed() {
    let place = Place::new();
    edit(place.vae(), |file| {
        let in_encoder = |key: &str| key.starts_with("encoder.") || key.starts_with("conv1.");
        file.tensors.retain(|entry| !in_encoder(&entry.key));
    });
    let scene = image("scene_48x32.png");
    place.refuses(
        &["--init-image", &scene],
        &[
            "qwen_image_small_vae.safetensors",
            "holds no encoder",
            "--vae",
        ],
    );
    place.generate(&[]).expect(0);
}

#[test]
fn a_vae_whose_encoder_lacks_a_tensor_is_refused_before_anything_loads() {
    let place = Place::new();
    edit(place.vae(), |file| {
        let bias = "encoder.head.2.bias";
        file.tensors.retain(|entry| entry.key != bias);
    });
    let scene = image("scene_48x32.png");
    place.refuses(
        &["--init-image", &scene],
        &["1 tensor missing", "encoder.conv_out.bias"],
    );
}

#[test]
fn the_help_lists_the_flags_under_a_heading_of_their_own() {
    let output = crate::support::program()
        .args(["generate", "--help"])
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let group = crate::support::under_heading(&text, "Start from an image");
    let flags: Vec<&str> = group
        .lines()
        .filter_map(|line| line.trim_start().strip_prefix("--"))
        .filter_map(|flag| flag.split_whitespace().next())
        .collect();
    assert_eq!(flags, ["init-image", "mask", "mask-crop", "strength"]);
}
