//! Image files with their metadata, as PNG, WebP and JPEG.

use image::codecs::jpeg::JpegEncoder;
use image::codecs::webp::WebPEncoder;
use image::{ExtendedColorType, ImageEncoder};

use super::exif;
use super::metadata::{Metadata, PARAMETERS, RECIPE};
use crate::error::Error;
use crate::image::Format;
use crate::image::RgbImage;

impl RgbImage {
    /// Writes the file of a format, with the metadata in it. `quality`, 1 to 100, is for JPEG.
    ///
    /// # Errors
    /// [`Error::Internal`] if the encoder refuses it.
    pub fn encode(
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

    /// Writes a format whose metadata is EXIF; `jpeg` are the sides of a JPEG file.
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
