//! `--from`: an image again.

use std::fs;
use std::path::Path;

use crate::support::{Place, Run, program};

/// `generate --from` without any flag that the image tells.
pub(crate) fn from(place: &Place, image: &str, more: &[&str]) -> Run {
    let mut command = program();
    command
        .current_dir(place.path(""))
        .args([
            "generate",
            "--models=models",
            "--backend=flex",
            "--from",
            image,
        ])
        .args(more);
    command.output().unwrap().into()
}

pub(crate) fn bytes(place: &Place, name: &str) -> Vec<u8> {
    fs::read(place.path(name)).unwrap()
}

/// An image with this text under a keyword.
pub(crate) fn with_text(path: &Path, keyword: &str, text: &str) {
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, 8, 8);
    encoder.set_color(png::ColorType::Grayscale);
    encoder
        .add_itxt_chunk(keyword.to_owned(), text.to_owned())
        .unwrap();
    let mut writer = encoder.write_header().unwrap();
    writer.write_image_data(&[0; 64]).unwrap();
    writer.finish().unwrap();
    fs::write(path, bytes).unwrap();
}

/// An image of another program's with this text.
pub(crate) fn foreign(path: &Path, text: &str) {
    with_text(path, "parameters", text);
}

#[test]
fn every_format_gives_the_same_image_again() {
    let place = Place::new();
    let flags = [
        "-n",
        "blurry 雨",
        "--cfg-scale=2.5",
        "--prompt=猫\nfox, \"x\"",
    ];
    for name in ["x.png", "x.webp", "x.jpg"] {
        let path = format!("out/{name}");
        place
            .generate(&[&flags[..], &["-o", &path]].concat())
            .expect(0);
        let again = format!("out/again-{name}");
        let run = from(&place, &path, &["-o", &again]).expect(0);
        assert_eq!(run.stdout, format!("{again}\n"));
        assert_eq!(bytes(&place, &path), bytes(&place, &again), "{name}");
    }
    // From one format to another.
    from(&place, "out/x.jpg", &["-oout/y.png"]).expect(0);
    assert_eq!(bytes(&place, "out/x.png"), bytes(&place, "out/y.png"));
    place
        .generate(&["--no-negative-prompt", "-oout/one.png"])
        .expect(0);
    from(&place, "out/one.png", &["-oout/two.png"]).expect(0);
    assert_eq!(bytes(&place, "out/one.png"), bytes(&place, "out/two.png"));
}

#[test]
fn flags_beside_it_count_more() {
    let place = Place::new();
    place.generate(&["-n", "blurry"]).expect(0);
    let flags = [
        "-W16",
        "--seed=3",
        "--steps=3",
        "--cfg-scale=2",
        "-n",
        "dark",
    ];
    from(
        &place,
        "out/x.png",
        &[&flags[..], &["-p", "a cat", "-oout/y.png"]].concat(),
    )
    .expect(0);
    place
        .generate(&[&flags[..], &["-p", "a cat", "-oout/z.png"]].concat())
        .expect(0);
    assert_eq!(bytes(&place, "out/y.png"), bytes(&place, "out/z.png"));
    from(
        &place,
        "out/x.png",
        &["--no-negative-prompt", "-oout/y.png"],
    )
    .expect(0);
    place
        .generate(&["--no-negative-prompt", "-oout/z.png"])
        .expect(0);
    assert_eq!(bytes(&place, "out/y.png"), bytes(&place, "out/z.png"));
}

#[test]
fn another_programs_parameters_are_taken_as_far_as_they_go() {
    let place = Place::new();
    foreign(
        &place.path("webui.png"),
        "a red fox\nNegative prompt: blurry\nSteps: 2, Sampler: DPM++ 2M, CFG scale: 3, \
         Seed: 77, Size: 48x32, Model: v1-5-pruned, Version: v1.10.1",
    );
    let run = from(&place, "webui.png", &["-oout/y.png"]).expect(0);
    assert!(run.stderr.contains("v1-5-pruned"), "{}", run.stderr);
    place
        .generate(&[
            "-n",
            "blurry",
            "--cfg-scale=3",
            "--seed=77",
            "--sampler=dpmpp2m",
            "-oout/z.png",
        ])
        .expect(0);
    assert_eq!(bytes(&place, "out/y.png"), bytes(&place, "out/z.png"));
    // A value that cannot be used is the file's fault, and a flag mends it.
    foreign(
        &place.path("low.png"),
        "fox\nSteps: 1, CFG scale: 0.5, Seed: 7, Size: 16x16",
    );
    from(&place, "low.png", &["-q"]).expect_error(3, &["low.png", "--steps"]);
    from(&place, "low.png", &["-q", "--steps=2"]).expect_error(3, &["low.png", "--cfg-scale"]);
    from(
        &place,
        "low.png",
        &["--steps=2", "--cfg-scale=1", "-oout/w.png"],
    )
    .expect(0);
}

#[test]
fn a_side_is_the_fault_of_who_gives_it() {
    let place = Place::new();
    place.generate(&[]).expect(0);
    from(&place, "out/x.png", &["-q", "-W9000"]).expect_error(2, &["--width"]);
    from(&place, "out/x.png", &["-q", "-H9000"]).expect_error(2, &["--height"]);
    foreign(
        &place.path("wide.png"),
        "fox\nSteps: 2, Seed: 7, Size: 9000x16",
    );
    from(&place, "wide.png", &["-q", "-H32"]).expect_error(3, &["wide.png", "--width"]);
    from(&place, "wide.png", &["-q", "-W16", "-oout/w.png"]).expect(0);
}

#[test]
fn what_cannot_be_made_again_is_told_in_a_line() {
    let place = Place::new();
    place.generate(&["--trace=out/t.safetensors"]).expect(0);
    place
        .generate(&["--noise=out/t.safetensors", "-oout/noise.png"])
        .expect(0);
    let whole = bytes(&place, "out/x.png");
    fs::write(place.path("cut.png"), &whole[..50]).unwrap();
    let mut plain = Vec::new();
    let mut writer = png::Encoder::new(&mut plain, 1, 1).write_header().unwrap();
    writer.write_image_data(&[7]).unwrap();
    writer.finish().unwrap();
    fs::write(place.path("plain.png"), plain).unwrap();
    fs::write(place.path("text.png"), "text").unwrap();
    foreign(&place.path("prompt.png"), "only a prompt");
    fs::create_dir(place.path("folder.png")).unwrap();
    for (name, part) in [
        ("cut.png", "damaged"),
        ("plain.png", "no generation parameters"),
        ("text.png", "no PNG, JPEG or WebP"),
        ("prompt.png", "not understood"),
        ("folder.png", "ordinary"),
        ("nowhere.png", "no such file"),
        ("out/noise.png", "--noise"),
    ] {
        from(&place, name, &["-q"]).expect_error(3, &[name, part]);
    }
    from(
        &place,
        "out/noise.png",
        &["--noise=out/t.safetensors", "-oout/n.png"],
    )
    .expect(0);
    assert_eq!(bytes(&place, "out/noise.png"), bytes(&place, "out/n.png"));
}

#[test]
fn another_model_is_refused_unless_it_is_named() {
    let place = Place::new();
    place.generate(&[]).expect(0);
    let other = place.path("models/diffusion_models/other.safetensors");
    fs::rename(place.transformer(), &other).unwrap();
    let name = "qwen_image_small_fp8_e4m3fn";
    from(&place, "out/x.png", &["-q"]).expect_error(3, &["out/x.png", name, "other"]);
    let transformer = format!("--transformer={}", other.display());
    let run = from(&place, "out/x.png", &[&transformer, "-oout/y.png"]).expect(0);
    assert!(run.stderr.contains(name), "{}", run.stderr);
}
