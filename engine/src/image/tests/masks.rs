//! Masks: by their colours or by their holes, with the cells that diffusers makes of them.

use image::{DynamicImage, GrayAlphaImage, GrayImage, RgbImage, Rgba, RgbaImage};
use model::init_image::{LatentMask, StartStyle};
use model::latents::TokenGrid;
use serde::Deserialize;

use super::{images, input};
use crate::image::Ground;
use crate::image::InitImage;
use crate::image::mask::{AlphaUse, greys, of_image};

/// A mask at a size, as diffusers' mask processor has it.
#[derive(Debug, Deserialize)]
struct Binarised {
    mask: String,
    width: u32,
    height: u32,
    /// For each latent pixel, row by row, `1` where the image is repainted.
    cells: String,
}

#[test]
fn a_resized_mask_has_the_references_cells() {
    let text = std::fs::read(images().join("masks.json")).unwrap();
    let cases: Vec<Binarised> = serde_json::from_slice(&text).unwrap();
    assert!(cases.len() >= 12);
    for case in cases {
        let image = input("scene_48x32.png", Some(&case.mask), None);
        let image = InitImage::read(&image, Ground::White).unwrap();
        let found = image.mask_at(case.width, case.height, StartStyle::Diffusers);
        let grid = TokenGrid::of_image(case.width as usize, case.height as usize);
        // Greys of which every latent pixel has 8 x 8.
        let columns = case.width as usize / 8;
        let cells = case.cells.as_bytes();
        assert_eq!(cells.len(), columns * case.height as usize / 8);
        let grey = |x: usize, y: usize| 255 * (cells[y / 8 * columns + x / 8] - b'0');
        let rows = 0..case.height as usize;
        let expected: Vec<u8> = rows
            .flat_map(|y| (0..case.width as usize).map(move |x| (x, y)))
            .map(|(x, y)| grey(x, y))
            .collect();
        let name = format!("{} at {}x{}", case.mask, case.width, case.height);
        assert_eq!(found, Some(LatentMask::binary(&expected, grid)), "{name}");
    }
}

#[test]
fn transparent_parts_of_a_image_are_told_unless_there_is_a_mask() {
    let notices = |name: &str, mask: Option<&str>, ground| {
        let image = InitImage::read(&input(name, mask, None), ground).unwrap();
        image.notices().collect::<Vec<_>>()
    };
    for name in [
        "alpha.png",
        "grey_alpha.png",
        "hole.gif",
        "palette_hole.png",
    ] {
        let [notice] = notices(name, None, Ground::White).try_into().unwrap();
        let expected = format!("the transparent parts of the init image {name} are white; ");
        assert!(notice.starts_with(&expected), "{notice}");
    }
    let [notice] = notices("alpha.png", None, Ground::Own).try_into().unwrap();
    assert!(
        notice.contains("have the colours that the file has for them"),
        "{notice}"
    );
    assert_eq!(notices("rgb.png", None, Ground::White), [""; 0]);
    // It is the mask's that matter.
    let [notice] = notices("alpha.png", Some("alpha.png"), Ground::White)
        .try_into()
        .unwrap();
    assert!(
        notice.starts_with("what is transparent in the mask alpha.png"),
        "{notice}"
    );
    assert_eq!(
        notices("alpha.png", Some("mask_30x40.png"), Ground::White),
        [""; 0]
    );
}

/// A mask of 4 x 4 pixels with a colour and an alpha for each.
fn rgba(pixel: impl Fn(u32, u32) -> [u8; 4]) -> DynamicImage {
    RgbaImage::from_fn(4, 4, |x, y| Rgba(pixel(x, y))).into()
}

/// The columns of the first row that are repainted, and how the alpha was read.
fn repainted(mask: DynamicImage) -> ([bool; 4], Option<AlphaUse>) {
    let (mask, alpha) = of_image(mask);
    let greys = greys(&mask);
    (
        [0, 1, 2, 3].map(|x| greys.get_pixel(x, 0).0[0] >= 128),
        alpha,
    )
}

#[test]
fn holes_are_repainted_whatever_colour_is_around_them() {
    let right = [false, false, true, true];
    let hole = |x: u32| if x < 2 { 255 } else { 0 };
    let photo = |x: u32, y: u32| [(60 * x) as u8, (50 * y) as u8, 130];
    let masks = [
        rgba(|x, _| [0, 0, 0, hole(x)]),
        rgba(|x, _| [255, 255, 255, hole(x)]),
        rgba(|x, _| [127, 127, 127, hole(x)]),
        rgba(|x, y| {
            let [red, green, blue] = photo(x, y);
            [red, green, blue, hole(x)]
        }),
        // What is under the holes does not matter either.
        rgba(|x, _| {
            if x < 2 {
                [0, 0, 0, 255]
            } else {
                [255, 255, 255, 0]
            }
        }),
        rgba(|x, _| [10, 200, 10, if x < 2 { 200 } else { 100 }]),
        GrayAlphaImage::from_fn(4, 4, |x, _| image::LumaA([90, hole(x)])).into(),
    ];
    for mask in masks {
        assert_eq!(
            repainted(mask.clone()),
            (right, Some(AlphaUse::Holes)),
            "{mask:?}"
        );
    }
}

#[test]
fn a_mask_in_black_and_white_counts_beside_its_alpha() {
    let right = [false, false, true, true];
    let mask = |x: u32| if x < 2 { 0 } else { 255 };
    // All opaque: nothing to be told.
    let whole = rgba(|x, _| [mask(x), mask(x), mask(x), 255]);
    assert_eq!(repainted(whole), (right, None));
    let faint = rgba(|x, _| [mask(x), mask(x), mask(x), 180]);
    assert_eq!(repainted(faint), (right, None));
    // A corner is cut away.
    let cut = rgba(|x, y| {
        [
            mask(x),
            mask(x),
            mask(x),
            if x == 3 && y == 3 { 0 } else { 255 },
        ]
    });
    assert_eq!(repainted(cut), (right, Some(AlphaUse::Kept)));
    // The alpha was lost.
    let lost = rgba(|x, _| [mask(x), mask(x), mask(x), 0]);
    assert_eq!(repainted(lost), (right, Some(AlphaUse::Ignored)));
    let without = GrayImage::from_fn(4, 4, |x, _| image::Luma([mask(x)]));
    assert_eq!(repainted(without.into()), (right, None));
    let colours = RgbImage::from_fn(4, 4, |x, _| image::Rgb([mask(x), mask(x), 0]));
    assert_eq!(repainted(colours.into()), (right, None));
}
