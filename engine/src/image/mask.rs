//! Masks: the part of an image that is repainted is white in the mask's file, or a hole in it.

use image::{DynamicImage, GrayImage, Luma, Rgb, RgbImage, RgbaImage};

use super::decode::opaque;
use crate::image::Ground;

/// The alpha from which on a pixel counts as opaque.
const OPAQUE: u8 = 128;
/// The brightest black of a mask that is drawn in black and white.
const BLACK: u8 = 32;
/// The darkest white of such a mask.
const WHITE: u8 = 223;
/// The number of black and white pixels for each one that may have another colour at soft edges.
const EDGES: u64 = 20;

/// The use of a mask's alpha channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AlphaUse {
    /// The transparent part is repainted, as ComfyUI and OpenAI's API have it.
    Holes,
    /// The colours are a mask by themselves, and the transparent part stays.
    Kept,
    /// Nothing is opaque, and the colours are the mask.
    Ignored,
}

impl AlphaUse {
    /// A note for the user on the mask called `name`.
    pub(crate) fn note(self, name: &str) -> String {
        match self {
            Self::Holes => format!(
                "what is transparent in the mask {name} is repainted, and its colours do not count; \
                 a mask without an alpha channel goes by its colours"
            ),
            Self::Kept => format!(
                "the mask {name} is black and white, so what is white in it is repainted, and what \
                 is transparent stays"
            ),
            Self::Ignored => format!(
                "the mask {name} is transparent everywhere, so its alpha channel does not count: \
                 what is white in it is repainted"
            ),
        }
    }
}

/// A mask in RGB whose white is repainted, and how its alpha channel was read, if there is a hole.
pub(super) fn of_image(image: DynamicImage) -> (RgbImage, Option<AlphaUse>) {
    if !image.color().has_alpha() {
        return (opaque(image, Ground::Black), None);
    }
    let rgba = image.into_rgba8();
    let is_opaque = |pixel: &image::Rgba<u8>| pixel.0[3] >= OPAQUE;
    if rgba.pixels().all(is_opaque) {
        return (opaque(rgba.into(), Ground::Black), None);
    }
    if !rgba.pixels().any(is_opaque) {
        return (opaque(rgba.into(), Ground::Own), Some(AlphaUse::Ignored));
    }
    if is_black_and_white(&rgba) {
        return (opaque(rgba.into(), Ground::Black), Some(AlphaUse::Kept));
    }
    let mut holes = RgbImage::new(rgba.width(), rgba.height());
    for (hole, pixel) in holes.pixels_mut().zip(rgba.pixels()) {
        *hole = Rgb([255 - pixel.0[3]; 3]);
    }
    (holes, Some(AlphaUse::Holes))
}

/// Tells whether the opaque part is drawn in black and in white, with both there, as no photograph
/// is.
fn is_black_and_white(image: &RgbaImage) -> bool {
    let (mut black, mut white, mut other) = (0u64, 0u64, 0u64);
    for image::Rgba([red, green, blue, alpha]) in image.pixels() {
        let colours = [*red, *green, *blue];
        if *alpha < OPAQUE {
            continue;
        } else if colours.iter().all(|&colour| colour <= BLACK) {
            black += 1;
        } else if colours.iter().all(|&colour| colour >= WHITE) {
            white += 1;
        } else {
            other += 1;
        }
    }
    black > 0 && white > 0 && other * EDGES <= black + white
}

/// The greys of an image: luma by ITU-R 601-2, in Pillow's fixed-point arithmetic.
pub(super) fn greys(image: &RgbImage) -> GrayImage {
    let mut greys = GrayImage::new(image.width(), image.height());
    for (to, from) in greys.pixels_mut().zip(image.pixels()) {
        let [red, green, blue] = from.0.map(u32::from);
        let sum = red * 19_595 + green * 38_470 + blue * 7_471;
        // The weights are 2^16 together, so that white is 255.
        *to = Luma([((sum + 0x8000) >> 16) as u8]);
    }
    greys
}
