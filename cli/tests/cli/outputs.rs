//! The images: names, pixels, metadata, and what is said about them.

use std::fs;
use std::io::Cursor;
use std::path::{Path, PathBuf};

use serde_json::json;

use crate::safetensors_file::{File, edit};
use crate::support::{Place, Run, fixtures, program};

struct Png {
    width: u32,
    height: u32,
    pixels: Vec<u8>,
    /// The `parameters` text and whether it lies in an iTXt chunk.
    parameters: (String, bool),
}

fn png(path: &Path) -> Png {
    let bytes = fs::read(path).unwrap();
    let mut reader = png::Decoder::new(Cursor::new(bytes)).read_info().unwrap();
    let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
    let frame = reader.next_frame(&mut pixels).unwrap();
    assert_eq!(
        (frame.color_type, frame.bit_depth),
        (png::ColorType::Rgb, png::BitDepth::Eight)
    );
    reader.finish().unwrap();
    let info = reader.info();
    let latin1 = info.uncompressed_latin1_text.iter().map(|chunk| {
        assert_eq!(chunk.keyword, "parameters");
        (chunk.text.clone(), false)
    });
    let utf8 = info.utf8_text.iter().filter_map(|chunk| {
        let text = (chunk.get_text().unwrap(), true);
        // This program's own chunk is beside it.
        (chunk.keyword != "qwen-image-burn").then_some(text)
    });
    Png {
        width: info.width,
        height: info.height,
        parameters: latin1.chain(utf8).next().unwrap(),
        pixels,
    }
}

#[test]
fn stdout_has_the_path_and_the_image_its_parameters() {
    let place = Place::new();
    let run = place
        .generate(&["-n", "blurry", "--cfg-scale", "2.5"])
        .expect(0);
    assert_eq!(run.stdout, "out/x.png\n");
    let png = png(&place.path("out/x.png"));
    assert_eq!((png.width, png.height), (48, 32));
    let (text, utf8) = png.parameters;
    assert!(!utf8);
    assert_eq!(
        text,
        format!(
            "a red fox\nNegative prompt: blurry\nSteps: 2, Sampler: Euler, CFG scale: 2.5, Seed: 9, \
             Size: 48x32, Model: qwen_image_small_fp8_e4m3fn, Version: qwen-image-burn {}",
            env!("CARGO_PKG_VERSION")
        )
    );
    assert_eq!(place.written(), ["x.png"]);
}

#[test]
fn prompts_beyond_latin_1_survive_in_the_metadata() {
    let place = Place::new();
    place
        .generate(&["--no-negative-prompt", "--prompt=一只猫 🦊"])
        .expect(0);
    let (text, utf8) = png(&place.path("out/x.png")).parameters;
    assert!(utf8);
    assert!(
        text.starts_with("一只猫 🦊\nSteps: 2, Sampler: Euler, CFG scale: 1, "),
        "{text}"
    );
}

#[test]
fn each_load_is_told_in_one_line_and_quiet_says_nothing() {
    let place = Place::new();
    let run = place.generate(&[]).expect(0);
    let loads = run
        .stderr
        .lines()
        .filter(|line| line.starts_with("Loaded "))
        .count();
    assert_eq!(loads, 3, "{}", run.stderr);
    let line = run
        .stderr
        .lines()
        .find(|line| line.starts_with("Loaded 77 tensors ("))
        .unwrap();
    let name = " s: transformer qwen_image_small_fp8_e4m3fn";
    assert!(line.ends_with(name) && line.contains(" in "), "{line}");
    // A part of a file is told as one.
    let decoder = "Loaded 104 of 194 tensors: the decoder (";
    let parts: Vec<&str> = run
        .stderr
        .lines()
        .filter(|line| line.contains(" of "))
        .collect();
    assert!(
        parts.iter().any(|line| line.starts_with(decoder)),
        "{parts:?}"
    );
    // No terminal: neither bars nor colours.
    assert!(!run.stderr.contains(['\u{1b}', '\r']), "{:?}", run.stderr);

    let run = place.generate(&["--quiet"]).expect(0);
    assert_eq!(run.stderr, "");
    assert_eq!(run.stdout, "out/x.png\n");

    let verbose = place.generate(&["--verbose"]).expect(0);
    assert!(verbose.stderr.lines().count() > loads);
    assert_eq!(verbose.stdout, "out/x.png\n");
}

#[test]
fn odd_sizes_are_rounded_with_a_notice() {
    let place = Place::new();
    let run = place.generate(&["-W50", "-H47"]).expect(0);
    for notice in [
        "width 50 is not a multiple of 16; using 48",
        "height 47 is not a multiple of 16; using 32",
    ] {
        assert!(run.stderr.contains(notice), "{}", run.stderr);
    }
    let png = png(&place.path("out/x.png"));
    assert_eq!((png.width, png.height), (48, 32));
}

#[test]
fn a_small_models_file_can_name_its_default_size() {
    let generate = |place: &Place| -> Run {
        let mut command = program();
        command.current_dir(place.path("")).args([
            "generate",
            "--backend=flex",
            "--models=models",
            "-px",
            "--steps=2",
            "-qoout/x.png",
        ]);
        command.output().unwrap().into()
    };
    let place = Place::new();
    edit(place.transformer(), |file| {
        file.edit_config(|config| config["default_size"] = json!([48, 16]));
    });
    generate(&place).expect(0);
    let image = png(&place.path("out/x.png"));
    assert_eq!((image.width, image.height), (48, 16));
    edit(place.transformer(), |file| {
        file.edit_config(|config| config["default_size"] = json!([48, 17]));
    });
    generate(&place).expect_error(3, &["default_size", "16"]);
}

#[test]
fn three_files_do_without_a_folder() {
    let place = Place::new();
    let mut command = program();
    command
        .current_dir(place.path("out"))
        .args([
            "generate",
            "--backend=flex",
            "-px",
            "-W48",
            "-H32",
            "--steps=2",
            "-ox.png",
        ])
        .arg("--transformer")
        .arg(place.transformer())
        .arg("--text-encoder")
        .arg(place.text_encoder())
        .arg("--vae")
        .arg(place.vae());
    // The tokenizer lies in the folder beside the text encoder's.
    Run::from(command.output().unwrap()).expect(0);
}

#[test]
fn numbers_out_of_range_are_an_error_and_not_a_black_image() {
    for (path, key, nan) in [
        (
            Place::transformer as fn(&Place) -> PathBuf,
            "proj_out.bias",
            0x7f,
        ),
        (Place::vae, "decoder.head.2.bias", 0xff),
    ] {
        let place = Place::new();
        edit(path(&place), |file| file.get_mut(key).bytes.fill(nan));
        place
            .generate(&["-q"])
            .expect_error(3, &["not finite", key, ".safetensors"]);
        assert_eq!(place.written(), [""; 0]);
    }
}

#[test]
fn a_damaged_transformer_is_not_blamed_on_f32_when_that_is_in_use() {
    let place = Place::new();
    edit(place.transformer(), |file| {
        file.get_mut("proj_out.bias").bytes.fill(0x7f);
    });
    let said = place.generate(&["-q", "--dtype=f32"]).expect(3).stderr;
    assert!(said.contains("qwen_image_small_fp8_e4m3fn"), "{said}");
    assert!(!said.contains("--dtype"), "{said}");
}

#[test]
fn a_batch_has_a_seed_and_a_name_for_each_image() {
    let place = Place::new();
    let run = place.generate(&["-b", "2"]).expect(0);
    assert_eq!(run.stdout, "out/x-1.png\nout/x-2.png\n");
    assert_eq!(place.written(), ["x-1.png", "x-2.png"]);
    let (first, second) = (
        png(&place.path("out/x-1.png")),
        png(&place.path("out/x-2.png")),
    );
    assert!(first.parameters.0.contains("Seed: 9,"));
    assert!(second.parameters.0.contains("Seed: 10,"));
    assert_ne!(first.pixels, second.pixels);

    // The second of the batch is the image of its seed alone.
    place.generate(&["-b2", "-oout/n%03d.png"]).expect(0);
    place.generate(&["-s10", "-oout/alone.png"]).expect(0);
    assert_eq!(
        place.written(),
        ["alone.png", "n001.png", "n002.png", "x-1.png", "x-2.png"]
    );
    assert_eq!(
        png(&place.path("out/n002.png")).pixels,
        png(&place.path("out/alone.png")).pixels
    );
}

#[test]
fn a_name_given_is_overwritten_and_a_default_one_never() {
    let place = Place::new();
    place.generate(&[]).expect(0);
    place.generate(&[]).expect(0);
    assert_eq!(place.written(), ["x.png"]);
    for _ in 0..2 {
        let mut command = place.command();
        assert_eq!(
            command.args(["-o", "out"]).output().unwrap().status.code(),
            Some(0)
        );
    }
    assert_eq!(
        place.written(),
        ["qwen-image-9-2.png", "qwen-image-9.png", "x.png"]
    );
}

#[test]
fn a_random_seed_is_told_and_gives_the_image_again() {
    let place = Place::new();
    let generate = |more: &[&str]| {
        let mut command = program();
        command.current_dir(place.path("")).args([
            "generate",
            "--backend=flex",
            "--models=models",
            "-pfox",
            "-W16",
            "-H16",
            "--steps=2",
        ]);
        Run::from(command.args(more).output().unwrap()).expect(0)
    };
    let run = generate(&["-oout/a.png"]);
    let line = run
        .stderr
        .lines()
        .find(|line| line.starts_with("Seed: "))
        .unwrap();
    let seed = line.trim_start_matches("Seed: ").to_owned();
    generate(&["-oout/b.png", "-s", &seed]);
    let (a, b) = (png(&place.path("out/a.png")), png(&place.path("out/b.png")));
    assert_eq!(a.pixels, b.pixels);
    assert_eq!(a.parameters, b.parameters);
    let other = generate(&["-oout/c.png"]);
    assert!(!other.stderr.contains(line), "two runs drew the same seed");
}

#[test]
fn the_image_is_the_references() {
    let cases = fs::read_to_string(fixtures().join("cases.json")).unwrap();
    let cases: serde_json::Value = serde_json::from_str(&cases).unwrap();
    let cases = cases["cases"].as_array().unwrap();
    for name in ["base", "diffusers"] {
        let case = cases.iter().find(|case| case["name"] == name).unwrap();
        let place = Place::with(case["models"].as_str().unwrap());
        let mut command = program();
        command.current_dir(place.path("out")).args([
            "generate",
            "--backend=flex",
            "--models=../models",
            "-ox.png",
        ]);
        for (flag, field) in [
            ("--prompt", "prompt"),
            ("--negative-prompt", "negative"),
            ("--width", "width"),
            ("--height", "height"),
            ("--steps", "steps"),
            ("--cfg-scale", "cfg"),
            ("--seed", "seed"),
        ] {
            let value = &case[field];
            let text = value
                .as_str()
                .map_or_else(|| value.to_string(), str::to_owned);
            command.arg(flag).arg(text);
        }
        Run::from(command.output().unwrap()).expect(0);
        let trace = fixtures().join(case["trace"].as_str().unwrap());
        let trace = File::read(&trace);
        let expected = &trace.get("png").bytes;
        let found = png(&place.path("out/x.png")).pixels;
        assert_eq!(found.len(), expected.len());
        let off = found
            .iter()
            .zip(expected)
            .map(|(a, b)| a.abs_diff(*b))
            .max();
        assert!(off <= Some(1), "{name}: off by {off:?} levels");
    }
}

#[test]
fn what_cannot_be_written_is_told_before_models_load() {
    let place = Place::new();
    fs::write(place.path("out/file"), "").unwrap();
    for (flag, path) in [
        ("--output", "out/file/x.png"),
        ("--trace", "nowhere/t.safetensors"),
        ("--trace", "out"),
        ("--report", "nowhere/r.json"),
        ("--report", "out"),
        #[cfg(unix)]
        ("--report", "/dev/null"),
    ] {
        let mut command = place.command();
        if flag != "--output" {
            command.args(["--output", "out/x.png"]);
        }
        let run = Run::from(command.args([flag, path]).output().unwrap()).expect(1);
        assert!(run.stderr.contains("error: cannot write"), "{}", run.stderr);
        assert!(run.stderr.contains(path), "{}", run.stderr);
        assert!(!run.stderr.contains("Loaded"), "{}", run.stderr);
    }
    assert_eq!(place.written(), ["file"]);
}

#[test]
fn what_is_left_out_of_a_long_prompt_is_told() {
    let place = Place::new();
    let long = "a red fox ".repeat(400);
    let run = place.generate(&["--dry-run", "--prompt", &long]).expect(0);
    let notes: Vec<&str> = run
        .stderr
        .lines()
        .filter(|line| line.starts_with("note: a prompt"))
        .collect();
    assert_eq!(notes.len(), 1, "{}", run.stderr);
    assert!(notes[0].contains("gets the first 512"), "{}", notes[0]);
    let run = place.generate(&["--dry-run"]).expect(0);
    assert!(!run.stderr.contains("left out"), "{}", run.stderr);
}
