//! Reading and resizing against Pillow.

use std::path::{Path, PathBuf};

use image::RgbImage;
use safetensors::SafeTensors;

use super::InitPicture;
use super::decode::{Ground, decode};
use super::resize::resize;
use crate::args::{ImageInput, ImageSize};

fn pictures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/pictures")
}

/// The pictures of a safetensors file by name, u8 `[height, width, 3]`.
fn recorded(file: &str) -> Vec<(String, RgbImage)> {
    let bytes = std::fs::read(pictures().join(file)).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let tensors = tensors.tensors().into_iter();
    tensors
        .map(|(name, tensor)| {
            let [height, width, 3] = *tensor.shape() else {
                panic!("{name}")
            };
            let data = tensor.data().to_vec();
            let image = RgbImage::from_raw(width as u32, height as u32, data).unwrap();
            (name, image)
        })
        .collect()
}

/// The largest and the mean distance of samples.
fn distance(a: &RgbImage, b: &RgbImage) -> (u8, f64) {
    assert_eq!(a.dimensions(), b.dimensions());
    let pairs = a.as_raw().iter().zip(b.as_raw());
    let distances: Vec<u8> = pairs.map(|(a, b)| a.abs_diff(*b)).collect();
    let sum: f64 = distances.iter().copied().map(f64::from).sum();
    let largest = distances.iter().copied().max().unwrap();
    (largest, sum / distances.len() as f64)
}

#[test]
fn resizing_is_pillows() {
    let all = recorded("resizes.safetensors");
    let mut seen = 0;
    let mut far = Vec::new();
    for (name, expected) in &all {
        let Some((source, _)) = name.split_once('/') else {
            continue;
        };
        let source = &all.iter().find(|(name, _)| name == source).unwrap().1;
        let resized = resize(source, expected.width(), expected.height()).unwrap();
        let (largest, mean) = distance(&resized, expected);
        println!("{name}: {largest} at most, {mean:.4} on average");
        if largest > 2 || mean > 0.02 {
            far.push(name);
        }
        seen += 1;
    }
    assert!(far.is_empty(), "{far:?}");
    assert!(seen >= 7);
}

#[test]
fn every_kind_of_picture_is_read() {
    let all = recorded("formats.safetensors");
    for (name, expected) in &all {
        let path = pictures().join(name);
        let bytes = std::fs::read(&path).unwrap();
        let found = decode(&bytes, Ground::White, &path).unwrap();
        let (largest, mean) = distance(&found, expected);
        println!("{name}: {largest} at most, {mean:.4} on average");
        // Decoders of lossy formats round in their own ways, and spread out colours that were
        // stored at half the resolution in theirs.
        let lossy = name.ends_with(".jpg") || name == "lossy.webp";
        let (most, average) = if lossy { (12, 0.6) } else { (1, 0.6) };
        assert!(
            largest <= most && mean <= average,
            "{name}: {largest}, {mean}"
        );
    }
    assert!(all.len() >= 25);
}

#[test]
fn what_is_cut_short_is_refused() {
    for (name, _) in recorded("formats.safetensors") {
        let path = pictures().join(&name);
        let bytes = std::fs::read(&path).unwrap();
        for length in (0..bytes.len()).step_by(37).chain([bytes.len() / 2]) {
            // A prefix that still is a picture is none too short: it must be the same one.
            if let Ok(found) = decode(&bytes[..length], Ground::White, &path) {
                let whole = decode(&bytes, Ground::White, &path).unwrap();
                assert_eq!(found, whole, "{name} up to {length} of {}", bytes.len());
            }
        }
        let half = decode(&bytes[..bytes.len() / 2], Ground::White, &path);
        let error = half.expect_err(&name).to_string();
        assert!(error.contains(&name) && !error.contains('\n'), "{error}");
    }
}

#[test]
fn what_follows_the_end_of_a_jpeg_does_not_matter() {
    let path = pictures().join("rgb.jpg");
    let bytes = std::fs::read(&path).unwrap();
    let whole = decode(&bytes, Ground::White, &path).unwrap();
    // A scan of another picture that is cut short.
    let film = [&bytes, [0, 1, 2, 0xff, 0xda, 0, 3, 0].as_slice()].concat();
    assert_eq!(decode(&film, Ground::White, &path).unwrap(), whole);
    let cut = &bytes[..bytes.len() - 2];
    let error = decode(cut, Ground::White, &path).unwrap_err();
    assert!(error.to_string().ends_with("is cut short"), "{error}");
}

#[test]
fn damaged_bytes_never_panic() {
    for (name, _) in recorded("formats.safetensors") {
        let path = pictures().join(&name);
        let bytes = std::fs::read(&path).unwrap();
        for place in (0..bytes.len()).step_by(3) {
            let mut damaged = bytes.clone();
            damaged[place] ^= 0xff;
            let _ = decode(&damaged, Ground::White, &path);
        }
    }
}

#[test]
fn what_is_transparent_is_white_in_a_picture_and_black_in_a_mask() {
    let path = pictures().join("alpha.png");
    let bytes = std::fs::read(&path).unwrap();
    // The alpha rises from 0 at the top to 255 below.
    let of = |ground| decode(&bytes, ground, &path).unwrap();
    let (white, black) = (of(Ground::White), of(Ground::Black));
    let top = |image: &RgbImage| image.get_pixel(0, 0).0.map(u32::from).iter().sum::<u32>();
    assert!(top(&white) > 3 * 245 && top(&black) < 3 * 10);
    let bottom = |image: &RgbImage| *image.get_pixel(23, 15);
    let pairs = bottom(&white).0.into_iter().zip(bottom(&black).0);
    assert!(pairs.into_iter().all(|(a, b)| a.abs_diff(b) < 16));
}

#[test]
fn the_size_is_the_pictures_own_unless_asked() {
    let input = |name: &str| ImageInput {
        init_image: pictures().join(name),
        mask: None,
        strength: 0.6,
    };
    let size = |name: &str, width, height| {
        let picture = InitPicture::read(&input(name)).unwrap();
        picture.size(ImageSize { width, height })
    };
    let name = "scene_61x45.png";
    assert_eq!(size(name, None, None), (48, 32));
    assert_eq!(size(name, Some(80), Some(48)), (80, 48));
    assert_eq!(size(name, Some(128), None), (128, 80));
    assert_eq!(size(name, None, Some(128)), (160, 128));
    assert_eq!(size("sun_128x80.png", None, None), (128, 80));
    assert_eq!(size("sun_128x80.png", Some(256), None), (256, 160));
    assert_eq!(size("sun_128x80.png", None, Some(160)), (256, 160));
    // A tall one.
    assert_eq!(size("orientation6.jpg", None, None), (16, 16));
    assert_eq!(size("orientation6.jpg", None, Some(48)), (32, 48));
}

#[test]
fn large_pictures_shrink_to_what_the_model_draws() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("large.png");
    for (size, drawn) in [
        ((1328, 1328), (1328, 1328)),
        ((1664, 928), (1664, 928)),
        ((2656, 2656), (1328, 1328)),
        ((4000, 1000), (2656, 656)),
        ((20_000, 16), (8192, 16)),
    ] {
        RgbImage::new(size.0, size.1).save(&path).unwrap();
        let picture = InitPicture::read(&ImageInput {
            init_image: path.clone(),
            mask: None,
            strength: 1.0,
        });
        let size = ImageSize {
            width: None,
            height: None,
        };
        assert_eq!(picture.unwrap().size(size), drawn);
    }
}
