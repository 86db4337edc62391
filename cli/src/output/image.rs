//! Pixels and their files.

use engine::Error;
use engine::image::Rounding;
use image::codecs::jpeg::JpegEncoder;
use image::codecs::webp::WebPEncoder;
use image::{ExtendedColorType, ImageEncoder};

use super::exif;
use super::format::Format;
use super::metadata::{Metadata, PARAMETERS, RECIPE};

/// An 8-bit RGB image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RgbImage {
    /// Pixels across.
    pub(crate) width: u32,
    /// Pixels down.
    pub(crate) height: u32,
    /// `[height, width, 3]`, row by row.
    pub(crate) pixels: Vec<u8>,
}

impl RgbImage {
    /// From the decoder's `[1, 3, height, width]` in [-1, 1]: half and shift, clamp, times 255,
    /// round.
    ///
    /// # Errors
    /// [`Error::NotFinite`] for NaN or infinity, which would silently become black.
    pub(crate) fn from_planes(
        planes: &[f32],
        width: u32,
        height: u32,
        rounding: Rounding,
    ) -> Result<Self, Error> {
        let area = width as usize * height as usize;
        if planes.len() != 3 * area {
            return Err(Error::Internal(format!(
                "the decoder gave {} values for an image of {width}x{height}",
                planes.len()
            )));
        }
        if planes.iter().any(|value| !value.is_finite()) {
            return Err(Error::NotFinite);
        }
        let (red, rest) = planes.split_at(area);
        let (green, blue) = rest.split_at(area);
        let mut pixels = Vec::with_capacity(3 * area);
        for ((&r, &g), &b) in red.iter().zip(green).zip(blue) {
            pixels.extend([r, g, b].map(|value| rounding.level(value)));
        }
        Ok(Self {
            width,
            height,
            pixels,
        })
    }

    /// The file in a format; `quality`, 1 to 100, is for JPEG.
    ///
    /// # Errors
    /// [`Error::Internal`] if the encoder refuses it.
    pub(crate) fn encode(
        &self,
        format: Format,
        quality: u8,
        metadata: &Metadata,
    ) -> Result<Vec<u8>, Error> {
        let encoded = match format {
            Format::Png => self.to_png(metadata).map_err(|error| error.to_string()),
            Format::WebP => {
                let mut bytes = Vec::new();
                let encoder = WebPEncoder::new_lossless(&mut bytes);
                self.write(encoder, metadata, None).map(|()| bytes)
            }
            Format::Jpeg => {
                let mut bytes = Vec::new();
                let encoder = JpegEncoder::new_with_quality(&mut bytes, quality);
                self.write(encoder, metadata, Some([self.width, self.height]))
                    .map(|()| bytes)
            }
        };
        encoded.map_err(|error| Error::Internal(format!("{}: {error}", format.as_str())))
    }

    /// The PNG file, with the parameters in a tEXt chunk where Latin-1 holds them, else in an
    /// iTXt chunk.
    fn to_png(&self, metadata: &Metadata) -> Result<Vec<u8>, png::EncodingError> {
        let mut bytes = Vec::new();
        let mut encoder = png::Encoder::new(&mut bytes, self.width, self.height);
        encoder.set_color(png::ColorType::Rgb);
        encoder.set_depth(png::BitDepth::Eight);
        let Metadata { parameters, recipe } = metadata.clone();
        if is_latin1(&parameters) {
            encoder.add_text_chunk(PARAMETERS.to_owned(), parameters)?;
        } else {
            encoder.add_itxt_chunk(PARAMETERS.to_owned(), parameters)?;
        }
        encoder.add_itxt_chunk(RECIPE.to_owned(), recipe)?;
        let mut writer = encoder.write_header()?;
        writer.write_image_data(&self.pixels)?;
        writer.finish()?;
        Ok(bytes)
    }

    /// The same in a format whose metadata is EXIF; `jpeg` are the sides of a JPEG file.
    fn write(
        &self,
        mut encoder: impl ImageEncoder,
        metadata: &Metadata,
        jpeg: Option<[u32; 2]>,
    ) -> Result<(), String> {
        let block = exif::write(metadata, jpeg)?;
        encoder
            .set_exif_metadata(block)
            .map_err(|error| error.to_string())?;
        encoder
            .write_image(
                &self.pixels,
                self.width,
                self.height,
                ExtendedColorType::Rgb8,
            )
            .map_err(|error| error.to_string())
    }
}

/// The characters that the PNG specification lets into a tEXt chunk.
fn is_latin1(text: &str) -> bool {
    text.chars()
        .all(|c| matches!(c, '\n' | ' '..='~' | '\u{a0}'..='\u{ff}'))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
