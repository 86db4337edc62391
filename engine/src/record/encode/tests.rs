use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use image::ImageReader;

use super::{Format, Metadata, RgbImage};
use crate::record::ImageFile;

/// A gradient: something that JPEG keeps well.
fn gradient() -> RgbImage {
    let (width, height) = (24, 16);
    let pixels = (0..height)
        .flat_map(|y| (0..width).flat_map(move |x| [10 * x as u8, 15 * y as u8, 128]))
        .collect();
    RgbImage {
        width,
        height,
        pixels,
    }
}

fn metadata(parameters: &str) -> Metadata {
    Metadata {
        parameters: parameters.to_owned(),
        recipe: "{}".to_owned(),
    }
}

fn chunks(bytes: &[u8]) -> png::Info<'static> {
    let decoder = png::Decoder::new(std::io::Cursor::new(bytes));
    decoder.read_info().unwrap().info().clone()
}

#[test]
fn text_goes_to_the_chunk_that_can_hold_it() {
    let png = |text| gradient().encode(Format::Png, 95, &metadata(text)).unwrap();
    let info = chunks(&png("a café\nSteps: 2"));
    assert_eq!(info.uncompressed_latin1_text[0].keyword, "parameters");
    assert_eq!(info.uncompressed_latin1_text[0].text, "a café\nSteps: 2");
    assert_eq!(info.utf8_text[0].keyword, "qwen-image-burn");
    for text in ["一只猫", "🦊", "tab\there"] {
        let info = chunks(&png(text));
        assert!(info.uncompressed_latin1_text.is_empty());
        assert_eq!(info.utf8_text[0].keyword, "parameters");
        assert_eq!(info.utf8_text[0].get_text().unwrap(), text);
    }
}

#[test]
fn every_format_keeps_pixels_and_texts() {
    let folder = tempfile::tempdir().unwrap();
    let image = gradient();
    for (name, format, most) in [
        ("x.png", Format::Png, 0),
        ("x.webp", Format::WebP, 0),
        ("x.jpg", Format::Jpeg, 12),
    ] {
        let path = folder.path().join(name);
        let bytes = image.encode(format, 95, &metadata("一只猫, fox")).unwrap();
        fs::write(&path, &bytes).unwrap();
        let found = ImageFile::open(&path).unwrap();
        assert_eq!(found.format, format);
        assert_eq!((found.width, found.height), (24, 16));
        assert_eq!(found.texts.get("parameters"), Some("一只猫, fox"));
        // `{}` is no recipe, and that is told.
        let error = found.recipe().unwrap_err().to_string();
        assert!(error.contains(name) && error.contains("recipe"), "{error}");
        if format == Format::Png {
            continue;
        }
        let reader = ImageReader::open(&path).unwrap();
        let pixels = reader.decode().unwrap().into_rgb8().into_raw();
        let off = pixels
            .iter()
            .zip(&image.pixels)
            .map(|(a, b)| a.abs_diff(*b));
        assert!(off.max() <= Some(most), "{name}");
    }
}

/// The chunks of a WebP file: names and contents.
fn webp_chunks(bytes: &[u8]) -> Vec<(String, &[u8])> {
    let long = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap()) as usize;
    assert_eq!((&bytes[..4], &bytes[8..12]), (&b"RIFF"[..], &b"WEBP"[..]));
    assert_eq!(long(4) + 8, bytes.len());
    let mut chunks = Vec::new();
    let mut at = 12;
    while at < bytes.len() {
        let length = long(at + 4);
        let name = String::from_utf8(bytes[at..at + 4].to_vec()).unwrap();
        chunks.push((name, &bytes[at + 8..at + 8 + length]));
        at += 8 + length;
        if length % 2 == 1 {
            assert_eq!(bytes[at], 0, "the padding of a chunk");
            at += 1;
        }
    }
    assert_eq!(at, bytes.len());
    chunks
}

#[test]
fn a_webp_file_is_built_as_its_container_says() {
    // Texts of an even and an odd length.
    for text in ["a fox", "a fox!"] {
        let bytes = gradient()
            .encode(Format::WebP, 95, &metadata(text))
            .unwrap();
        let chunks = webp_chunks(&bytes);
        let names: Vec<&str> = chunks.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["VP8X", "VP8L", "EXIF"]);
        // EXIF alone, no alpha, profile or animation; the sides less 1.
        assert_eq!(chunks[0].1, [0b1000, 0, 0, 0, 23, 0, 0, 15, 0, 0]);
        // A lossless frame whose head says the same size, without alpha.
        let head = u32::from_le_bytes(chunks[1].1[1..5].try_into().unwrap());
        assert_eq!((chunks[1].1[0], head), (0x2f, 23 | 15 << 14));
        // The block itself, without the name that it has in a JPEG file.
        assert_eq!(&chunks[2].1[..4], b"MM\0*");
    }
}

#[test]
fn a_jpeg_file_has_its_exif_first() {
    let bytes = gradient()
        .encode(Format::Jpeg, 95, &metadata("a fox"))
        .unwrap();
    let mut at = 2;
    let mut segments = Vec::new();
    // Up to the first table.
    while bytes[at + 1] & 0xf0 == 0xe0 {
        let length = usize::from(u16::from_be_bytes([bytes[at + 2], bytes[at + 3]]));
        segments.push((bytes[at + 1], &bytes[at + 4..at + 2 + length]));
        at += 2 + length;
    }
    let exif: Vec<_> = segments
        .iter()
        .filter(|(marker, _)| *marker == 0xe1)
        .collect();
    let [(_, exif)] = exif.as_slice() else {
        panic!("{segments:?}")
    };
    assert!(exif.starts_with(b"Exif\0\0MM\0*"));
}

#[test]
fn quality_makes_a_jpeg_smaller_or_better() {
    let size = |quality| {
        let jpeg = gradient().encode(Format::Jpeg, quality, &metadata("x"));
        jpeg.unwrap().len()
    };
    assert!(size(10) < size(95));
}

#[test]
fn damaged_files_are_errors_or_less_text_and_never_a_panic() {
    let folder = tempfile::tempdir().unwrap();
    for format in [Format::Png, Format::WebP, Format::Jpeg] {
        let bytes = gradient().encode(format, 50, &metadata("a fox")).unwrap();
        let path = folder.path().join("x");
        let open = |bytes: &[u8]| {
            fs::write(&path, bytes).unwrap();
            ImageFile::open(&path)
        };
        for at in (0..bytes.len()).step_by(3) {
            let _ = open(&bytes[..at]);
            let mut damaged = bytes.clone();
            damaged[at] ^= 0xff;
            let _ = open(&damaged);
        }
        assert!(open(&bytes[..20]).is_err(), "{format:?}");
    }
    assert!(ImageFile::open(Path::new("/no/such.png")).is_err());
    assert!(ImageFile::open(folder.path()).is_err());
}

#[test]
fn a_jpeg_does_not_hold_any_amount_of_text() {
    let long = metadata(&"x".repeat(40_000));
    let error = long.check_fits(Path::new("out/x.jpg")).unwrap_err();
    assert!(error.to_string().contains("out/x.jpg"), "{error}");
    assert!(long.check_fits(Path::new("x.webp")).is_ok());
    assert!(metadata("short").check_fits(Path::new("x.jpg")).is_ok());
}

#[test]
fn exiftool_has_nothing_to_warn_of() {
    let exiftool = |flags: &[&str], files: &[PathBuf]| {
        let output = Command::new("exiftool").args(flags).args(files).output();
        output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned())
    };
    if exiftool(&["-ver"], &[]).is_err() {
        println!("skipped: exiftool is not installed");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let mut files = Vec::new();
    for (name, format) in [
        ("a.png", Format::Png),
        ("a.webp", Format::WebP),
        ("a.jpg", Format::Jpeg),
    ] {
        // An odd and an even number of bytes.
        for prompt in ["一只猫", "一只猫!"] {
            let path = folder.path().join(format!("{}-{name}", files.len()));
            let recipe = serde_json::json!({"prompt": prompt, "width": 24, "sampler": "euler"});
            let metadata = Metadata {
                parameters: format!("{prompt}\nNegative prompt:  \nSteps: 2, Sampler: Euler"),
                recipe: recipe.to_string(),
            };
            let bytes = gradient().encode(format, 95, &metadata).unwrap();
            fs::write(&path, bytes).unwrap();
            files.push(path);
        }
    }
    let found = exiftool(&["-validate"], &files).unwrap();
    let sound = found
        .lines()
        .filter(|line| line.starts_with("Validate") && line.ends_with(": OK"));
    assert_eq!(sound.count(), files.len(), "{found}");
    let found = exiftool(&["-a"], &files).unwrap();
    assert!(!found.contains("Warning"), "{found}");
}
