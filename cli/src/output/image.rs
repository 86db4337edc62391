//! Pixels and the PNG file.

use crate::error::CliError;

/// The keyword under which image tools look for generation parameters.
const PARAMETERS: &str = "parameters";

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

/// How a level between two whole ones becomes one of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rounding {
    /// To the nearer one, as diffusers' image processor does it.
    HalfToEven,
    /// To the lower one, as ComfyUI's node that saves images does it.
    Down,
}

impl RgbImage {
    /// From the decoder's `[1, 3, height, width]` in [-1, 1]: half and shift, clamp, times 255,
    /// round.
    ///
    /// # Errors
    /// [`CliError::NotFinite`] for NaN or infinity, which would silently become black.
    pub(crate) fn from_planes(
        planes: &[f32],
        width: u32,
        height: u32,
        rounding: Rounding,
    ) -> Result<Self, CliError> {
        let area = width as usize * height as usize;
        if planes.len() != 3 * area {
            return Err(CliError::Internal(format!(
                "the decoder gave {} values for an image of {width}x{height}",
                planes.len()
            )));
        }
        if planes.iter().any(|value| !value.is_finite()) {
            return Err(CliError::NotFinite);
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

    /// The PNG file, with `parameters` in a text chunk: tEXt where Latin-1 holds it, else iTXt.
    ///
    /// # Errors
    /// [`CliError::Internal`] if the encoder refuses it.
    pub(crate) fn to_png(&self, parameters: &str) -> Result<Vec<u8>, CliError> {
        let encode = || {
            let mut bytes = Vec::new();
            let mut encoder = png::Encoder::new(&mut bytes, self.width, self.height);
            encoder.set_color(png::ColorType::Rgb);
            encoder.set_depth(png::BitDepth::Eight);
            if is_latin1(parameters) {
                encoder.add_text_chunk(PARAMETERS.to_owned(), parameters.to_owned())?;
            } else {
                encoder.add_itxt_chunk(PARAMETERS.to_owned(), parameters.to_owned())?;
            }
            let mut writer = encoder.write_header()?;
            writer.write_image_data(&self.pixels)?;
            writer.finish()?;
            Ok::<_, png::EncodingError>(bytes)
        };
        encode().map_err(|error| CliError::Internal(format!("PNG: {error}")))
    }
}

impl Rounding {
    /// The level of a value in [-1, 1].
    fn level(self, value: f32) -> u8 {
        let level = (value * 0.5 + 0.5).clamp(0.0, 1.0) * 255.0;
        match self {
            Self::HalfToEven => level.round_ties_even() as u8,
            Self::Down => level as u8,
        }
    }
}

/// The characters that the PNG specification lets into a tEXt chunk.
fn is_latin1(text: &str) -> bool {
    text.chars()
        .all(|c| matches!(c, '\n' | ' '..='~' | '\u{a0}'..='\u{ff}'))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::{RgbImage, Rounding};
    use crate::error::CliError;

    fn decode(bytes: &[u8]) -> (png::Info<'static>, Vec<u8>) {
        let mut reader = png::Decoder::new(std::io::Cursor::new(bytes))
            .read_info()
            .unwrap();
        let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
        reader.next_frame(&mut pixels).unwrap();
        reader.finish().unwrap();
        (reader.info().clone(), pixels)
    }

    #[test]
    fn levels_round_half_to_even_and_clamp() {
        let level = |value| Rounding::HalfToEven.level(value);
        let value = |level: f32| level / 255.0 * 2.0 - 1.0;
        assert_eq!(level(-1.0), 0);
        assert_eq!(level(1.0), 255);
        assert_eq!(level(-7.0), 0);
        assert_eq!(level(7.0), 255);
        // 127.5 exactly: to the even neighbour.
        assert_eq!(level(0.0), 128);
        for step in 0..=255_u8 {
            assert_eq!(level(value(f32::from(step))), step);
        }
    }

    #[test]
    fn comfyui_rounds_down() {
        let level = |value| Rounding::Down.level(value);
        assert_eq!(
            [-7.0, -1.0, 0.0, 1.0, 7.0].map(level),
            [0, 0, 127, 255, 255]
        );
        // 254.9 of 255.
        assert_eq!(level(254.9 / 255.0 * 2.0 - 1.0), 254);
    }

    #[test]
    fn planes_become_interleaved_pixels() {
        let planes = [-1.0, 1.0, 1.0, -1.0, -1.0, -1.0];
        let image = RgbImage::from_planes(&planes, 2, 1, Rounding::HalfToEven).unwrap();
        assert_eq!(image.pixels, [0, 255, 0, 255, 0, 0]);
        assert!(matches!(
            RgbImage::from_planes(&[f32::NAN; 3], 1, 1, Rounding::HalfToEven),
            Err(CliError::NotFinite)
        ));
        assert!(RgbImage::from_planes(&[0.0; 4], 1, 1, Rounding::Down).is_err());
    }

    #[test]
    fn text_goes_to_the_chunk_that_can_hold_it() {
        let image = RgbImage {
            width: 2,
            height: 1,
            pixels: vec![1, 2, 3, 4, 5, 6],
        };
        let (info, pixels) = decode(&image.to_png("a café\nSteps: 2").unwrap());
        assert_eq!(pixels, image.pixels);
        assert_eq!((info.width, info.height), (2, 1));
        assert_eq!(info.uncompressed_latin1_text[0].keyword, "parameters");
        assert_eq!(info.uncompressed_latin1_text[0].text, "a café\nSteps: 2");

        for text in ["一只猫", "🦊", "tab\there"] {
            let (info, _) = decode(&image.to_png(text).unwrap());
            assert!(info.uncompressed_latin1_text.is_empty());
            assert_eq!(info.utf8_text[0].keyword, "parameters");
            assert_eq!(info.utf8_text[0].get_text().unwrap(), text);
        }
    }
}
