//! WebP and JPEG beside PNG, and the metadata of each.

use std::fs;

use image::ImageReader;
use serde_json::Value;

use crate::support::{Place, Run, program};

fn pixels(place: &Place, name: &str) -> Vec<u8> {
    let reader = ImageReader::open(place.path(name)).unwrap();
    reader.decode().unwrap().into_rgb8().into_raw()
}

fn inspect(place: &Place, name: &str, more: &[&str]) -> Run {
    let mut command = program();
    command
        .current_dir(place.path(""))
        .args(["inspect", name])
        .args(more);
    command.output().unwrap().into()
}

#[test]
fn the_extension_chooses_the_format_and_all_hold_the_same_metadata() {
    let place = Place::new();
    let flags = ["-n", "blurry 雨", "--prompt=一只猫, \"fox\"\nnext line"];
    let generate = |output: &str, more: &[&str]| {
        let output = ["-o", output];
        let run = place
            .generate(&[&flags, &output[..], more].concat())
            .expect(0);
        assert_eq!(
            run.stderr
                .lines()
                .filter(|line| line.starts_with("error"))
                .count(),
            0
        );
    };
    generate("out/a.png", &[]);
    generate("out/a.webp", &[]);
    generate("out/a.JPG", &["--quality", "100"]);
    generate("out/b.jpeg", &["--quality", "5"]);
    assert_eq!(place.written(), ["a.JPG", "a.png", "a.webp", "b.jpeg"]);

    let json = |name: &str| -> Value {
        let run = inspect(&place, name, &["--json"]).expect(0);
        serde_json::from_str::<Value>(&run.stdout).unwrap()["image"].take()
    };
    let png = json("out/a.png");
    assert_eq!(
        (&png["format"], &png["width"], &png["height"]),
        (&"PNG".into(), &48.into(), &32.into())
    );
    assert_eq!(png["recipe"]["prompt"], "一只猫, \"fox\"\nnext line");
    assert_eq!(png["recipe"]["negative_prompt"], "blurry 雨");
    assert_eq!(png["recipe"]["seed"], 9);
    for (name, format) in [
        ("out/a.webp", "WebP"),
        ("out/a.JPG", "JPEG"),
        ("out/b.jpeg", "JPEG"),
    ] {
        let other = json(name);
        assert_eq!(other["format"], format);
        for field in ["width", "height", "parameters", "recipe"] {
            assert_eq!(other[field], png[field], "{name}: {field}");
        }
    }

    let decoder = png::Decoder::new(std::io::BufReader::new(
        fs::File::open(place.path("out/a.png")).unwrap(),
    ));
    let mut reader = decoder.read_info().unwrap();
    let mut expected = vec![0; reader.output_buffer_size().unwrap()];
    reader.next_frame(&mut expected).unwrap();
    assert_eq!(pixels(&place, "out/a.webp"), expected);
    let off = |name| -> u64 {
        let pixels = pixels(&place, name);
        assert_eq!(pixels.len(), expected.len());
        let pairs = pixels.iter().zip(&expected);
        pairs.map(|(a, b)| u64::from(a.abs_diff(*b))).sum()
    };
    assert!(off("out/a.JPG") < off("out/b.jpeg"));
}

#[test]
fn exif_is_where_other_tools_look() {
    let place = Place::new();
    place.generate(&["-oout/x.webp"]).expect(0);
    place.generate(&["-oout/x.jpg"]).expect(0);
    for name in ["x.webp", "x.jpg"] {
        let file = fs::File::open(place.path("out").join(name)).unwrap();
        let exif = exif::Reader::new()
            .read_from_container(&mut std::io::BufReader::new(file))
            .unwrap();
        let comment = exif.get_field(exif::Tag::UserComment, exif::In::PRIMARY);
        let exif::Value::Undefined(bytes, _) = &comment.unwrap().value else {
            panic!("{comment:?}")
        };
        let text = bytes.strip_prefix(b"UNICODE\0").unwrap();
        let (units, _) = text.as_chunks::<2>();
        let units: Vec<u16> = units.iter().map(|&unit| u16::from_be_bytes(unit)).collect();
        let text = String::from_utf16(&units).unwrap();
        assert!(
            text.starts_with("a red fox\nNegative prompt:  \nSteps: 2, "),
            "{text}"
        );
    }
}

#[test]
fn inspect_shows_how_a_image_was_made() {
    let place = Place::new();
    place.generate(&["--prompt=\u{1b}[2Jfox"]).expect(0);
    let run = inspect(&place, "out/x.png", &[]).expect(0);
    for part in ["PNG, 48x32", "prompt", "fox", "steps", "seed", "9"] {
        assert!(run.stdout.contains(part), "no {part} in {}", run.stdout);
    }
    assert!(!run.stdout.contains('\u{1b}'), "{:?}", run.stdout);
    inspect(&place, "out/x.png", &["--read"]).expect_error(2, &["--read", "x.png"]);

    let mut bytes = fs::read(place.path("out/x.png")).unwrap();
    bytes.truncate(60);
    fs::write(place.path("out/cut.png"), &bytes).unwrap();
    inspect(&place, "out/cut.png", &[]).expect_error(3, &["out/cut.png", "damaged"]);
    let mut plain = Vec::new();
    png::Encoder::new(&mut plain, 1, 1)
        .write_header()
        .unwrap()
        .write_image_data(&[7])
        .unwrap();
    fs::write(place.path("out/plain.png"), plain).unwrap();
    let run = inspect(&place, "out/plain.png", &[]).expect(0);
    assert!(run.stdout.contains("none"), "{}", run.stdout);
}

#[test]
fn a_prompt_that_a_jpeg_cannot_hold_is_refused_before_anything_loads() {
    let place = Place::new();
    let prompt = format!("--prompt={}", "fox ".repeat(8000));
    let run = place.generate(&["-q", "-oout/x.jpg", &prompt]);
    run.expect_error(2, &["out/x.jpg", ".png"]);
    assert_eq!(place.written(), [""; 0]);
    place.generate(&["-q", "-oout/x.webp", &prompt]).expect(0);
}
