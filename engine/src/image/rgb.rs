//! The pixels of an image that was made.

use super::Rounding;
use crate::error::Error;

/// An 8-bit RGB image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RgbImage {
    /// The width in pixels.
    pub width: u32,
    /// The height in pixels.
    pub height: u32,
    /// `[height, width, 3]`, row by row.
    pub pixels: Vec<u8>,
}

impl RgbImage {
    /// Makes bytes of the decoder's `[1, 3, height, width]` in `[-1, 1]`: `255 * (x / 2 + 1 / 2)`,
    /// clamped and rounded.
    ///
    /// # Errors
    /// [`Error::NotFinite`] for NaN or infinity, which would silently become black.
    pub fn from_planes(
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
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::{Error, RgbImage, Rounding};

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
            Err(Error::NotFinite)
        ));
        assert!(RgbImage::from_planes(&[0.0; 4], 1, 1, Rounding::Down).is_err());
    }
}
