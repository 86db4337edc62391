//! The part around a mask is cropped, filled up and put back as diffusers' image processor does it.

use image::{GrayImage, Luma, RgbImage};
use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::{images, input};
use crate::image::Ground;
use crate::image::InitImage;
use crate::image::crop::{Marked, Region, overlay, resize_and_fill};
use crate::image::mask::greys;
use crate::image::resize::{Filter, resize};

/// A rectangle that is masked, and what diffusers makes of it.
#[derive(Debug, Deserialize)]
struct Crop {
    /// The image's and the mask's size.
    size: [u32; 2],
    /// Left, top, right and bottom of what is not black.
    marked: [u32; 4],
    grey: u8,
    padding: u32,
    to: [u32; 2],
    /// Left, top, right and bottom.
    region: [u32; 4],
    /// The digest of the image's part at that size.
    filled: String,
    /// The digest of the mask's part at that size.
    mask: String,
    /// The digest of the image with its own mirror image put back.
    overlaid: String,
}

fn digest(samples: &[u8]) -> String {
    format!("{:x}", Sha256::digest(samples))
}

#[test]
fn crops_are_the_references() {
    let text = std::fs::read(images().join("crops.json")).unwrap();
    let cases: Vec<Crop> = serde_json::from_slice(&text).unwrap();
    assert!(cases.len() >= 20);
    let scene = image::open(images().join("scene_61x45.png"))
        .unwrap()
        .into_rgb8();
    for case in cases {
        let [width, height] = case.size;
        let image = resize(&scene, width, height, Filter::Bicubic);
        let [left, top, right, bottom] = case.marked;
        let mask = GrayImage::from_fn(width, height, |x, y| {
            let inside = (left..right).contains(&x) && (top..bottom).contains(&y);
            Luma([if inside { case.grey } else { 0 }])
        });
        let [across, down] = case.to;
        let region = Marked::of(&mask).unwrap();
        let region = region.region(case.padding, across, down);
        let [left, top, right, bottom] = case.region;
        let expected = Region {
            left,
            top,
            width: right - left,
            height: bottom - top,
        };
        assert_eq!(region, expected, "{case:?}");
        let filled = resize_and_fill(&region.of(&image), across, down);
        assert_eq!(digest(&filled), case.filled, "{case:?}");
        let filled = resize_and_fill(&region.of(&mask), across, down);
        assert_eq!(digest(&filled), case.mask, "{case:?}");
        let drawn = image::imageops::flip_horizontal(&image);
        let drawn = resize(&drawn, across, down, Filter::Bicubic);
        let found = overlay(&image, &mask, region, &drawn);
        assert_eq!(digest(&found), case.overlaid, "{case:?}");
    }
}

#[test]
fn a_soft_mask_blends_the_overlay_as_the_reference_does() {
    let [image, mask, drawn, expected] = ["image", "mask", "drawn", "overlaid"].map(|name| {
        let all = super::recorded("overlay.safetensors");
        all.into_iter().find(|(found, _)| found == name).unwrap().1
    });
    let region = Region {
        left: 0,
        top: 0,
        width: image.width(),
        height: image.height(),
    };
    let found = overlay(&image, &greys(&mask), region, &drawn);
    assert!(found == expected);
}

#[test]
fn a_black_mask_has_nothing_to_crop_to() {
    assert!(Marked::of(&GrayImage::new(9, 7)).is_none());
    let folder = tempfile::tempdir().unwrap();
    let black = folder.path().join("black.png");
    GrayImage::new(48, 32).save(&black).unwrap();
    let mut input = input("scene_48x32.png", None, Some(4));
    input.mask = Some(black);
    let error = InitImage::read(&input, Ground::White).unwrap_err();
    let error = error.to_string();
    assert!(error.contains("black.png: marks nothing"), "{error}");
    // Without the crop it is a mask that keeps all.
    input.mask_crop = None;
    InitImage::read(&input, Ground::White).unwrap();
}

#[test]
fn thin_parts_keep_a_pixel() {
    let thin = RgbImage::from_pixel(2000, 1, image::Rgb([9, 8, 7]));
    let filled = resize_and_fill(&thin, 32, 32);
    assert!(filled.pixels().all(|pixel| pixel.0 == [9, 8, 7]));
    let high = RgbImage::from_pixel(1, 2000, image::Rgb([9, 8, 7]));
    let filled = resize_and_fill(&high, 32, 48);
    assert!(filled.pixels().all(|pixel| pixel.0 == [9, 8, 7]));
}

#[test]
fn a_mask_of_another_size_is_stretched_to_the_image() {
    let input = input("scene_61x45.png", Some("mask_30x40.png"), Some(2));
    let init = InitImage::read(&input, Ground::White).unwrap();
    let notices: Vec<_> = init.notices().collect();
    let expected = "the mask mask_30x40.png of 30x40 pixels is stretched to the init image's 61x45";
    assert_eq!(notices, [expected]);
    let region = init.region(48, 48).unwrap();
    assert!(region.left + region.width <= 61 && region.top + region.height <= 45);
    let drawn = RgbImage::new(48, 48);
    assert_eq!(init.overlaid(&drawn).unwrap().dimensions(), (61, 45));
}
