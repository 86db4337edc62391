//! Starting from a picture: its latents are noised to a level of the schedule, and denoised from
//! there on (Meng et al., "SDEdit", 2021). With a mask, what is to stay is put back after every
//! step, at that step's noise level (Lugmayr et al., "RePaint", 2022, without its resampling).
//!
//! Equal to diffusers' `QwenImageImg2ImgPipeline` and `QwenImageInpaintPipeline`, down to the order
//! in which they draw from a seed's generator.

use burn::tensor::backend::Backend;
use burn::tensor::{DType, Tensor, TensorData};

use crate::latents::{PIXELS_PER_TOKEN, TokenGrid, pack};
use crate::noise::NoiseGenerator;
use crate::vae::{Posterior, SCALE};

/// The first of `steps` that is run, counted from 0, where a picture is changed by `strength`, from
/// 0 (not at all) to 1 (wholly): as many steps are left out as `1 - strength` of them, rounded down.
///
/// `None` if no step would be left.
pub fn first_step(steps: usize, strength: f64) -> Option<usize> {
    let kept = (steps as f64 * strength).min(steps as f64);
    let first = (steps as f64 - kept).max(0.0) as usize;
    (first < steps).then_some(first)
}

/// What a mask says of the latents: f32 `[1, 1, height, width]` in latent pixels, 1 where the
/// picture is repainted and 0 where it stays.
///
/// `pixels` are the greys of a mask of the image's size, row by row; those from 128 on are
/// repainted. Each latent pixel goes by the first of its 8 x 8 pixels, as in the reference.
///
/// # Panics
/// If there are not as many pixels as the grid has.
pub fn latent_mask<B: Backend>(pixels: &[u8], grid: TokenGrid, device: &B::Device) -> Tensor<B, 4> {
    let shape = grid.latent_shape(1);
    let [_, _, height, width] = shape;
    assert_eq!(pixels.len(), height * width * SCALE * SCALE, "mask pixels");
    let values: Vec<f32> = repainted(pixels, grid)
        .map(|repainted| f32::from(u8::from(repainted)))
        .collect();
    Tensor::from_data(TensorData::new(values, shape), (device, DType::F32))
}

/// Whether a mask, as [`latent_mask`] takes it, has nothing repainted.
pub fn keeps_all(pixels: &[u8], grid: TokenGrid) -> bool {
    !repainted(pixels, grid).any(|repainted| repainted)
}

/// Of each latent pixel, row by row, whether it is repainted.
fn repainted(pixels: &[u8], grid: TokenGrid) -> impl Iterator<Item = bool> {
    let width = grid.width * PIXELS_PER_TOKEN;
    let rows = pixels.chunks_exact(width.max(1)).step_by(SCALE);
    let firsts = rows.flat_map(|row| row.iter().step_by(SCALE));
    firsts.map(|&grey| grey >= 128)
}

/// A picture to start from, and the noise that goes with it, both f32
/// `[1, image tokens, features]`.
#[derive(Clone, Debug)]
pub struct InitImage<B: Backend> {
    clean: Tensor<B, 3>,
    noise: Tensor<B, 3>,
    /// 1 where the picture is repainted.
    mask: Option<Tensor<B, 3>>,
}

impl<B: Backend> InitImage<B> {
    /// Latents `clean` and `noise`, both f32 `[1, channels, height, width]`.
    pub fn new(clean: Tensor<B, 4>, noise: Tensor<B, 4>) -> Self {
        Self {
            clean: pack(clean),
            noise: pack(noise),
            mask: None,
        }
    }

    /// What a seed draws: first latents from the posterior, then the noise.
    pub fn of_seed(posterior: &Posterior<B>, seed: u64) -> Self {
        let mode = posterior.mode();
        let shape = mode.dims();
        let mut generator = NoiseGenerator::new(seed);
        let mut draw = || {
            let values = generator.draw(shape.iter().product());
            Tensor::<B, 4>::from_data(TensorData::new(values, shape), (&mode.device(), DType::F32))
        };
        let clean = posterior.sample(draw());
        Self::new(clean, draw())
    }

    /// With the part that stays: a mask f32 `[1, 1, height, width]` in latent pixels, as
    /// [`latent_mask`] gives it.
    pub fn masked(self, mask: Tensor<B, 4>) -> Self {
        let features = self.clean.dims()[2];
        let mask = pack(mask);
        // A token's features are channel by channel the same four pixels.
        let channels = features / mask.dims()[2];
        Self {
            mask: Some(mask.repeat(&[1, 1, channels])),
            ..self
        }
    }

    /// The latents f32 `[1, image tokens, features]` at the noise level `sigma`:
    /// `sigma * noise + (1 - sigma) * clean`.
    pub fn at(&self, sigma: f32) -> Tensor<B, 3> {
        self.noise.clone() * sigma + self.clean.clone() * (1.0 - sigma)
    }

    /// `latents` f32 `[1, image tokens, features]` at the noise level `sigma`, with the picture
    /// where the mask says that it stays.
    pub fn put_back(&self, latents: Tensor<B, 3>, sigma: f32) -> Tensor<B, 3> {
        match &self.mask {
            None => latents,
            Some(mask) => {
                let kept = self.at(sigma) * (mask.clone() * -1.0 + 1.0);
                kept + latents * mask.clone()
            }
        }
    }

    /// The clean latents, f32 `[1, image tokens, features]`.
    pub fn clean(&self) -> Tensor<B, 3> {
        self.clean.clone()
    }

    /// The noise, f32 `[1, image tokens, features]`.
    pub fn noise(&self) -> Tensor<B, 3> {
        self.noise.clone()
    }

    /// The mask, f32 `[1, image tokens, features]`: 1 where the picture is repainted.
    pub fn mask(&self) -> Option<Tensor<B, 3>> {
        self.mask.clone()
    }
}

#[cfg(test)]
mod tests {
    use burn_flex::Flex;

    use super::*;

    #[test]
    fn strength_leaves_out_the_first_steps() {
        for (steps, strength, first) in [
            (50, 0.6, Some(20)),
            (50, 1.0, Some(0)),
            (5, 0.6, Some(2)),
            (3, 0.7, Some(0)),
            (4, 0.25, Some(3)),
            (4, 0.01, Some(3)),
            (1, 0.5, Some(0)),
            // Nothing is left of four steps in f64.
            (4, 1e-300, None),
        ] {
            assert_eq!(first_step(steps, strength), first, "{steps}, {strength}");
        }
    }

    #[test]
    fn a_latent_pixel_goes_by_its_first_pixel() {
        let grid = TokenGrid {
            height: 1,
            width: 1,
        };
        let mut pixels = vec![0u8; 16 * 16];
        // The first pixels of the four latent pixels, one of them just too dark, and another
        // pixel that is white.
        pixels[0] = 128;
        pixels[8] = 127;
        pixels[8 * 16] = 255;
        pixels[8 * 16 + 9] = 255;
        let mask = latent_mask::<Flex>(&pixels, grid, &Default::default());
        let values: Vec<f32> = mask.into_data().iter::<f32>().collect();
        assert_eq!(values, [1.0, 0.0, 1.0, 0.0]);
        assert!(!keeps_all(&pixels, grid));
        pixels[0] = 127;
        pixels[8 * 16] = 0;
        assert!(keeps_all(&pixels, grid));
    }

    #[test]
    fn without_noise_the_kept_part_is_the_picture() {
        let device = Default::default();
        let full = |value: f32| Tensor::<Flex, 4>::full([1, 16, 2, 2], value, &device);
        let mask = latent_mask::<Flex>(
            &[[0; 128], [255; 128]].concat(),
            TokenGrid {
                height: 1,
                width: 1,
            },
            &device,
        );
        let start = InitImage::new(full(3.0), full(5.0)).masked(mask);
        let latents = Tensor::<Flex, 3>::full([1, 1, 64], 7.0, &device);
        for (sigma, kept) in [(0.0, 3.0), (0.25, 3.5), (1.0, 5.0)] {
            let blended = start.put_back(latents.clone(), sigma).into_data();
            let values: Vec<f32> = blended.iter::<f32>().collect();
            // Of a channel's four pixels the upper two stay.
            for channel in values.chunks_exact(4) {
                assert_eq!(channel, [kept, kept, 7.0, 7.0]);
            }
        }
    }
}
