//! An image's bytes to 8-bit RGB.

use std::io::Cursor;
use std::ops::RangeInclusive;
use std::path::Path;

use image::metadata::Orientation;
use image::{
    DynamicImage, ImageBuffer, ImageDecoder, ImageError, ImageFormat, ImageReader, Limits, Pixel,
    RgbImage,
};

use crate::error::Error;
use crate::image::Ground;

/// The longest side that is read.
const MAX_SIDE: u32 = 32_768;
/// The most pixels that are read: a file of a few kilobytes can claim any number of them.
const MAX_PIXELS: u64 = 100_000_000;
/// The most bytes that a decoder may take: eight for each of those pixels, and as many for its own
/// use.
const MAX_DECODER_BYTES: u64 = 16 * MAX_PIXELS;

/// The image in a file's contents, upright as its EXIF orientation says, with 8-bit samples. The
/// first frame of an animation counts, the upper 8 of 16 bits are taken, and colour profiles are not
/// applied, as Pillow does it.
///
/// # Errors
/// [`Error::Image`] if it is none, of a kind that is not read, damaged, cut short, or too
/// large.
pub(super) fn decode(bytes: &[u8], path: &Path) -> Result<DynamicImage, Error> {
    let bad = |reason: String| Error::image(path, reason);
    if bytes.is_empty() {
        return Err(bad("is empty".to_owned()));
    }
    let format = image::guess_format(bytes).ok();
    let format = format.filter(ImageFormat::reading_enabled).ok_or_else(|| {
        bad("is not an image of a kind that is read: PNG, JPEG, WebP, BMP, GIF or TIFF".to_owned())
    })?;
    let whole = match format {
        ImageFormat::Jpeg => has_end(bytes),
        ImageFormat::WebP => has_all_chunks(bytes),
        _ => true,
    };
    if !whole {
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
    // Damaged metadata leaves an image as it lies.
    let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
    let mut image = DynamicImage::from_decoder(decoder).map_err(damaged)?;
    image.apply_orientation(orientation);
    with_8_bits(image).ok_or_else(|| {
        bad("has floating-point samples: save it with 8 or 16 bits a sample".to_owned())
    })
}

/// The upper 8 bits of 16; `None` for samples that are no whole numbers, of which programs have
/// different ranges.
fn with_8_bits(image: DynamicImage) -> Option<DynamicImage> {
    Some(match image {
        DynamicImage::ImageLuma16(image) => DynamicImage::ImageLuma8(upper(&image)?),
        DynamicImage::ImageLumaA16(image) => DynamicImage::ImageLumaA8(upper(&image)?),
        DynamicImage::ImageRgb16(image) => DynamicImage::ImageRgb8(upper(&image)?),
        DynamicImage::ImageRgba16(image) => DynamicImage::ImageRgba8(upper(&image)?),
        DynamicImage::ImageRgb32F(_) | DynamicImage::ImageRgba32F(_) => return None,
        image => image,
    })
}

fn upper<P, Q>(image: &ImageBuffer<P, Vec<u16>>) -> Option<ImageBuffer<Q, Vec<u8>>>
where
    P: Pixel<Subpixel = u16>,
    Q: Pixel<Subpixel = u8>,
{
    let samples = image.as_raw().iter().map(|sample| (sample >> 8) as u8);
    ImageBuffer::from_raw(image.width(), image.height(), samples.collect())
}

/// Tells whether a WebP file is as long as its head says. Its EXIF, which may turn it, comes last,
/// and the decoder would go without.
fn has_all_chunks(bytes: &[u8]) -> bool {
    let Some(Ok(length)) = bytes.get(4..8).map(<[u8; 4]>::try_from) else {
        return false;
    };
    // The byte that pads the last chunk may be missing.
    bytes.len() as u64 + 1 >= u64::from(u32::from_le_bytes(length)) + 8
}

/// Tells whether a JPEG goes on to its end marker (ITU-T T.81, annex B). The decoder would take what
/// is missing for grey. What follows the end, as phones write it, does not matter.
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

/// The image in RGB, with an opaque ground behind what is transparent.
pub(super) fn opaque(image: DynamicImage, ground: Ground) -> RgbImage {
    if !image.color().has_alpha() {
        return image.into_rgb8();
    }
    let image = image.into_rgba8();
    let mut opaque = RgbImage::new(image.width(), image.height());
    for (to, from) in opaque.pixels_mut().zip(image.pixels()) {
        let [red, green, blue, alpha] = from.0.map(u32::from);
        let (ground, alpha) = match ground {
            Ground::White => (255, alpha),
            Ground::Black => (0, alpha),
            Ground::Own => (0, 255),
        };
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
