//! Reading, resizing, cropping and putting back, against Pillow and diffusers.

mod crops;
mod kinds;
mod masks;
mod refused;
mod resizes;

use std::path::{Path, PathBuf};

use image::RgbImage;
use safetensors::SafeTensors;

use super::decode::opaque;
use super::{InitImage, decode};
use crate::error::Error;
use crate::image::Ground;
use crate::request::{ImageInput, ImageSize};

fn images() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/images")
}

/// The images of a safetensors file by name, u8 `[height, width, 3]`.
fn recorded(file: &str) -> Vec<(String, RgbImage)> {
    let bytes = std::fs::read(images().join(file)).unwrap();
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

/// A file's image as one to start from.
fn read(bytes: &[u8], path: &Path) -> Result<RgbImage, Error> {
    Ok(opaque(decode::decode(bytes, path)?, Ground::White))
}

/// An image and a mask to start from, below the folder of images.
fn input(init_image: &str, mask: Option<&str>, mask_crop: Option<u32>) -> ImageInput {
    ImageInput {
        init_image: images().join(init_image),
        mask: mask.map(|mask| images().join(mask)),
        mask_crop,
        strength: 0.6,
    }
}

#[test]
fn every_kind_of_image_is_read() {
    let all = recorded("formats.safetensors");
    for (name, expected) in &all {
        let path = images().join(name);
        let bytes = std::fs::read(&path).unwrap();
        let found = read(&bytes, &path).unwrap();
        let (largest, mean) = distance(&found, expected);
        println!("{name}: {largest} at most, {mean:.4} on average");
        // Decoders of JPEG round in their own ways, and spread out colours that were stored at half
        // the resolution in theirs.
        let (most, average) = if name.ends_with(".jpg") {
            (12, 0.6)
        } else {
            (0, 0.0)
        };
        assert!(
            largest <= most && mean <= average,
            "{name}: {largest}, {mean}"
        );
    }
    assert!(all.len() >= 50);
}

#[test]
fn what_is_cut_short_is_refused() {
    for (name, _) in recorded("formats.safetensors") {
        let path = images().join(&name);
        let bytes = std::fs::read(&path).unwrap();
        for length in (0..bytes.len()).step_by(37).chain([bytes.len() / 2]) {
            // A prefix that still is an image is none too short: it must be the same one.
            if let Ok(found) = read(&bytes[..length], &path) {
                let whole = read(&bytes, &path).unwrap();
                assert_eq!(found, whole, "{name} up to {length} of {}", bytes.len());
            }
        }
        // Of one that moves, half a file may hold the whole first frame.
        if name.starts_with("moving") {
            continue;
        }
        let half = read(&bytes[..bytes.len() / 2], &path);
        let error = half.expect_err(&name).to_string();
        assert!(error.contains(&name) && !error.contains('\n'), "{error}");
    }
}

#[test]
fn what_follows_the_end_of_a_jpeg_does_not_matter() {
    let path = images().join("rgb.jpg");
    let bytes = std::fs::read(&path).unwrap();
    let whole = read(&bytes, &path).unwrap();
    // A scan of another image that is cut short.
    let film = [&bytes, [0, 1, 2, 0xff, 0xda, 0, 3, 0].as_slice()].concat();
    assert_eq!(read(&film, &path).unwrap(), whole);
    let cut = &bytes[..bytes.len() - 2];
    let error = read(cut, &path).unwrap_err();
    assert!(error.to_string().ends_with("is cut short"), "{error}");
}

#[test]
fn damaged_bytes_never_panic() {
    for (name, _) in recorded("formats.safetensors") {
        let path = images().join(&name);
        let bytes = std::fs::read(&path).unwrap();
        for place in (0..bytes.len()).step_by(3) {
            let mut damaged = bytes.clone();
            damaged[place] ^= 0xff;
            let _ = read(&damaged, &path);
        }
    }
}

#[test]
fn what_is_transparent_is_white_unless_its_own_colours_count() {
    let path = images().join("alpha.png");
    let bytes = std::fs::read(&path).unwrap();
    // The alpha rises from 0 at the top to 255 below.
    let of = |ground| opaque(decode::decode(&bytes, &path).unwrap(), ground);
    let (white, black, own) = (of(Ground::White), of(Ground::Black), of(Ground::Own));
    let top = |image: &RgbImage| image.get_pixel(0, 0).0;
    assert!(top(&white).iter().all(|&level| level > 240));
    assert!(top(&black).iter().all(|&level| level < 15));
    let bottom = |image: &RgbImage| *image.get_pixel(23, 15);
    let pairs = bottom(&own).0.into_iter().zip(bottom(&white).0);
    assert!(pairs.into_iter().all(|(a, b)| a.abs_diff(b) < 16));
    let whole = std::fs::read(images().join("rgb.png")).unwrap();
    assert_eq!(own, read(&whole, &path).unwrap());
}

#[test]
fn the_size_is_the_images_own_unless_asked() {
    let size = |name: &str, width, height| {
        let image = InitImage::read(&input(name, None, None), Ground::White).unwrap();
        image.size(ImageSize { width, height })
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
fn large_images_shrink_to_what_the_model_draws() {
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
        let large = ImageInput {
            init_image: path.clone(),
            ..input("", None, None)
        };
        let image = InitImage::read(&large, Ground::White);
        let size = ImageSize {
            width: None,
            height: None,
        };
        assert_eq!(image.unwrap().size(size), drawn);
    }
}
