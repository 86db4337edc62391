//! A picture's bytes to 8-bit RGB.

use std::io::Cursor;
use std::ops::RangeInclusive;
use std::path::Path;

use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder, ImageError, ImageFormat, ImageReader, Limits, RgbImage};

use crate::error::CliError;

/// The longest side that is read.
const MAX_SIDE: u32 = 32_768;
/// Most pixels that are read: a file of a few kilobytes can claim any number of them.
const MAX_PIXELS: u64 = 100_000_000;
/// Most bytes that a decoder may take: eight for each of those pixels, and as many for its own use.
const MAX_DECODER_BYTES: u64 = 16 * MAX_PIXELS;

/// What lies behind transparent pixels.
#[derive(Debug, Clone, Copy)]
pub(super) enum Ground {
    /// Paper, for a picture.
    White,
    /// Nothing painted, for a mask.
    Black,
}

/// The picture in a file's contents, upright as its EXIF orientation says; of an animation the
/// first frame. 16-bit samples are rounded to 8 bits, and colour profiles are not applied.
///
/// # Errors
/// [`CliError::Picture`] if it is none, of a kind that is not read, damaged, cut short, or too
/// large.
pub(super) fn decode(bytes: &[u8], ground: Ground, path: &Path) -> Result<RgbImage, CliError> {
    let bad = |reason: String| CliError::picture(path, reason);
    if bytes.is_empty() {
        return Err(bad("is empty".to_owned()));
    }
    let format = image::guess_format(bytes).ok();
    let format = format.filter(ImageFormat::reading_enabled).ok_or_else(|| {
        bad("is not a picture of a kind that is read: PNG, JPEG, WebP, BMP, GIF or TIFF".to_owned())
    })?;
    if format == ImageFormat::Jpeg && !has_end(bytes) {
        return Err(bad("is cut short".to_owned()));
    }
    let damaged = |error: ImageError| match error {
        ImageError::Limits(_) => bad("takes too much memory to decode".to_owned()),
        ImageError::Unsupported(error) => bad(format!("is of a kind that is not read: {error}")),
        error => bad(format!("is damaged or cut short: {}", one_line(&error))),
    };
    let reader = ImageReader::with_format(Cursor::new(bytes), format);
    let mut decoder = reader.into_decoder().map_err(damaged)?;
    let (width, height) = decoder.dimensions();
    let pixels = u64::from(width) * u64::from(height);
    if pixels == 0 {
        return Err(bad("has no pixels".to_owned()));
    }
    if width > MAX_SIDE || height > MAX_SIDE || pixels > MAX_PIXELS {
        return Err(bad(format!(
            "is too large: {width}x{height} pixels, of at most {} million, {MAX_SIDE} a side",
            MAX_PIXELS / 1_000_000
        )));
    }
    let mut limits = Limits::default();
    limits.max_alloc = Some(MAX_DECODER_BYTES);
    decoder.set_limits(limits).map_err(damaged)?;
    // Damaged metadata leaves a picture as it lies.
    let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
    let mut image = DynamicImage::from_decoder(decoder).map_err(damaged)?;
    image.apply_orientation(orientation);
    Ok(if image.color().has_alpha() {
        on_ground(&image, ground)
    } else {
        image.into_rgb8()
    })
}

/// Whether a JPEG goes on to its end marker (ITU-T T.81, annex B). The decoder would take what is
/// missing for grey. What follows the end, as phones write it, does not matter.
fn has_end(bytes: &[u8]) -> bool {
    const STUFFED: u8 = 0x00;
    const RESTARTS: RangeInclusive<u8> = 0xd0..=0xd7;
    const START: u8 = 0xd8;
    const END: u8 = 0xd9;
    const SCAN: u8 = 0xda;
    const FILL: u8 = 0xff;
    let mut at = 0;
    let mut in_scan = false;
    loop {
        let Some(&[first, marker]) = bytes.get(at..at + 2) else {
            return false;
        };
        match (first, marker) {
            (0xff, END) => return true,
            (0xff, FILL) => at += 1,
            (0xff, START | STUFFED) => at += 2,
            (0xff, marker) if RESTARTS.contains(&marker) => at += 2,
            (0xff, marker) => {
                let Some(&[high, low]) = bytes.get(at + 2..at + 4) else {
                    return false;
                };
                in_scan = marker == SCAN;
                at += 2 + usize::from(u16::from_be_bytes([high, low]));
            }
            _ if in_scan => at += 1,
            // Not a marker where there must be one: the decoder will say so.
            _ => return true,
        }
    }
}

/// A picture with transparency on an opaque ground.
fn on_ground(image: &DynamicImage, ground: Ground) -> RgbImage {
    let ground = match ground {
        Ground::White => 255u32,
        Ground::Black => 0,
    };
    let image = image.to_rgba8();
    let mut opaque = RgbImage::new(image.width(), image.height());
    for (to, from) in opaque.pixels_mut().zip(image.pixels()) {
        let [red, green, blue, alpha] = from.0.map(u32::from);
        to.0 = [red, green, blue].map(|colour| {
            let sum = colour * alpha + ground * (255 - alpha);
            // At most 255 * 255 before the division.
            ((sum + 127) / 255) as u8
        });
    }
    opaque
}

/// A decoder's message without line breaks.
fn one_line(error: &ImageError) -> String {
    let text = error.to_string();
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
