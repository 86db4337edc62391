//! Masks in latent pixels.

use burn::tensor::backend::Backend;
use burn::tensor::{DType, Tensor, TensorData};

use crate::latents::{PIXELS_PER_TOKEN, TokenGrid};
use crate::vae::SCALE;

/// A mask of the latents: a number for each latent pixel, from 0, where the image stays, to
/// 1, where it is repainted.
#[derive(Clone, Debug, PartialEq)]
pub struct LatentMask {
    grid: TokenGrid,
    /// Row by row.
    values: Vec<f32>,
}

impl LatentMask {
    /// Makes diffusers' mask: each latent pixel takes the first of its 8 x 8 pixels, and greys from
    /// 128 on are repainted. `greys` are the pixels of a mask of the image's size, row by row.
    ///
    /// # Panics
    /// There are not as many greys as the grid has pixels.
    pub fn binary(greys: &[u8], grid: TokenGrid) -> Self {
        let width = grid.width * PIXELS_PER_TOKEN;
        let height = grid.height * PIXELS_PER_TOKEN;
        assert_eq!(greys.len(), width * height, "mask pixels");
        let rows = greys.chunks_exact(width.max(1)).step_by(SCALE);
        let firsts = rows.flat_map(|row| row.iter().step_by(SCALE));
        let values = firsts.map(|&grey| f32::from(u8::from(grey >= 128)));
        Self {
            grid,
            values: values.collect(),
        }
    }

    /// Makes ComfyUI's mask: greys are shares, between which latent pixels are interpolated. `greys`
    /// are the pixels of a mask of any size, `[width, height]`, row by row.
    ///
    /// # Panics
    /// There are not as many greys as the mask has pixels, or none.
    pub fn soft(greys: &[u8], [width, height]: [usize; 2], grid: TokenGrid) -> Self {
        assert_eq!(greys.len(), width * height, "mask pixels");
        let [_, _, rows, columns] = grid.latent_shape(1);
        let share = |x: usize, y: usize| f32::from(greys[y * width + x]) / 255.0;
        let mut values = Vec::with_capacity(rows * columns);
        for row in 0..rows {
            let y = Between::new(row, height, rows);
            for column in 0..columns {
                let x = Between::new(column, width, columns);
                let along = |y: usize| x.mix(share(x.first, y), share(x.second, y));
                values.push(y.mix(along(y.first), along(y.second)));
            }
        }
        Self { grid, values }
    }

    /// Returns whether nothing is repainted.
    pub fn keeps_all(&self) -> bool {
        self.values.iter().all(|&share| share == 0.0)
    }

    /// The mask as f32 `[1, 1, height, width]`.
    pub fn tensor<B: Backend>(&self, device: &B::Device) -> Tensor<B, 4> {
        let data = TensorData::new(self.values.clone(), self.grid.latent_shape(1));
        Tensor::from_data(data, (device, DType::F32))
    }
}

/// Two neighbouring pixels of one axis, and the distance of a place from the first of them.
struct Between {
    first: usize,
    second: usize,
    share: f32,
}

impl Between {
    /// The place of pixel `index` of `to`, on an axis of `from` pixels (torch's `interpolate` without
    /// aligned corners).
    fn new(index: usize, from: usize, to: usize) -> Self {
        let scale = from as f32 / to as f32;
        let place = (scale * (index as f32 + 0.5) - 0.5).max(0.0);
        let first = (place as usize).min(from.saturating_sub(1));
        Self {
            first,
            second: (first + 1).min(from.saturating_sub(1)),
            share: place - first as f32,
        }
    }

    fn mix(&self, first: f32, second: f32) -> f32 {
        (1.0 - self.share) * first + self.share * second
    }
}

#[cfg(test)]
mod tests {
    use super::LatentMask;
    use crate::latents::TokenGrid;

    const TOKEN: TokenGrid = TokenGrid {
        height: 1,
        width: 1,
    };

    #[test]
    fn a_latent_pixel_goes_by_its_first_pixel() {
        let mut pixels = vec![0u8; 16 * 16];
        // The first pixels of the four latent pixels, one of them just too dark, and another
        // pixel that is white.
        pixels[0] = 128;
        pixels[8] = 127;
        pixels[8 * 16] = 255;
        pixels[8 * 16 + 9] = 255;
        let mask = LatentMask::binary(&pixels, TOKEN);
        assert_eq!(mask.values, [1.0, 0.0, 1.0, 0.0]);
        assert!(!mask.keeps_all());
        pixels[0] = 127;
        pixels[8 * 16] = 0;
        assert!(LatentMask::binary(&pixels, TOKEN).keeps_all());
    }

    #[test]
    fn a_soft_mask_is_interpolated_between_its_greys() {
        // The four pixels in the middle of each latent pixel's 8 x 8 count.
        let mut pixels = vec![0u8; 16 * 16];
        for (x, y) in [(3, 3), (4, 3), (3, 4)] {
            pixels[y * 16 + x] = 255;
        }
        pixels[0] = 255;
        let mask = LatentMask::soft(&pixels, [16, 16], TOKEN);
        assert_eq!(mask.values, [0.75, 0.0, 0.0, 0.0]);
        // One pixel stands for all, and of two columns each has its own.
        let mask = LatentMask::soft(&[51], [1, 1], TOKEN);
        assert_eq!(mask.values, [0.2; 4]);
        let mask = LatentMask::soft(&[0, 255], [2, 1], TOKEN);
        assert_eq!(mask.values, [0.0, 1.0, 0.0, 1.0]);
        assert!(LatentMask::soft(&[0; 6], [3, 2], TOKEN).keeps_all());
    }
}
