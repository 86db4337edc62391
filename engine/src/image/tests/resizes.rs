//! Resizing is Pillow's, to the last bit.

use image::{GrayImage, ImageBuffer, Pixel, RgbImage};
use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::{images, recorded};
use crate::image::resize::{Filter, resize};

/// A resize that Pillow has done, of samples that can be made anew.
#[derive(Debug, Deserialize)]
struct Resize {
    mode: String,
    filter: String,
    seed: u32,
    from: [u32; 2],
    to: [u32; 2],
    /// The digest of the resized samples.
    sha256: String,
}

/// The samples of a seed: noise, noise in black and white, or a ramp.
fn samples(seed: u32, count: usize) -> Vec<u8> {
    let mut state = seed;
    let sample = |index: usize| {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        let noise = (state >> 24) as u8;
        match seed % 3 {
            0 => noise,
            1 => 255 * (noise >> 7),
            _ => (index * 5 + usize::from(noise >> 5)) as u8,
        }
    };
    (0..count).map(sample).collect()
}

fn resized<P>(case: &Resize, filter: Filter) -> Vec<u8>
where
    P: Pixel<Subpixel = u8>,
{
    let [width, height] = case.from;
    let count = width as usize * height as usize * usize::from(P::CHANNEL_COUNT);
    let image = ImageBuffer::<P, _>::from_raw(width, height, samples(case.seed, count)).unwrap();
    let [width, height] = case.to;
    resize(&image, width, height, filter).into_raw()
}

#[test]
fn resizing_is_pillows_at_any_size() {
    let text = std::fs::read(images().join("resizes.json")).unwrap();
    let cases: Vec<Resize> = serde_json::from_slice(&text).unwrap();
    assert!(cases.len() >= 60);
    let other: Vec<_> = cases
        .iter()
        .filter(|case| {
            let filter = match case.filter.as_str() {
                "lanczos" => Filter::Lanczos,
                "bicubic" => Filter::Bicubic,
                other => panic!("{other}"),
            };
            let samples = match case.mode.as_str() {
                "RGB" => resized::<image::Rgb<u8>>(case, filter),
                "L" => resized::<image::Luma<u8>>(case, filter),
                other => panic!("{other}"),
            };
            format!("{:x}", Sha256::digest(samples)) != case.sha256
        })
        .collect();
    assert!(other.is_empty(), "{} differ: {other:#?}", other.len());
}

#[test]
fn resized_images_are_pillows() {
    let all = recorded("resizes.safetensors");
    let mut seen = 0;
    for (name, expected) in &all {
        let Some((source, _)) = name.split_once('/') else {
            continue;
        };
        let source = &all.iter().find(|(name, _)| name == source).unwrap().1;
        let (width, height) = expected.dimensions();
        let found = resize(source, width, height, Filter::Lanczos);
        assert!(found == *expected, "{name}");
        seen += 1;
    }
    assert!(seen >= 7);
}

#[test]
fn one_grey_is_resized_as_three_equal_colours() {
    let greys = GrayImage::from_raw(13, 7, samples(3, 13 * 7)).unwrap();
    let colours = RgbImage::from_fn(13, 7, |x, y| image::Rgb([greys.get_pixel(x, y).0[0]; 3]));
    let greys = resize(&greys, 29, 3, Filter::Lanczos);
    let colours = resize(&colours, 29, 3, Filter::Lanczos);
    for (grey, colour) in greys.pixels().zip(colours.pixels()) {
        assert_eq!([grey.0[0]; 3], colour.0);
    }
}
