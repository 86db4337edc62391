//! A run that starts from an image: its latents are noised to a level of the schedule and denoised
//! from there on (Meng et al., "SDEdit", 2021). With a mask, the part that is to stay is put back
//! after every step, at that step's noise level (Lugmayr et al., "RePaint", 2022, without its
//! resampling).
//!
//! The results equal those of diffusers' `QwenImageImg2ImgPipeline` and `QwenImageInpaintPipeline`,
//! down to the order in which they draw from a seed's generator, and in the other [`StartStyle`]
//! those of ComfyUI's KSampler after VAEEncode and SetLatentNoiseMask.

mod latent_mask;

use burn::tensor::backend::Backend;
use burn::tensor::{DType, Tensor, TensorData};

pub use latent_mask::LatentMask;

use crate::latents::pack;
use crate::noise::NoiseGenerator;
use crate::pipeline::Steering;
use crate::vae::Posterior;

/// The program whose way of starting from an image is followed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StartStyle {
    /// diffusers' pipelines. A seed draws latents from the posterior and then the noise, a part of
    /// the steps is run ([`first_step`]), and the part that stays is put back after every step.
    #[default]
    Diffusers,
    /// ComfyUI's KSampler. It starts from the posterior's mean with the seed's first noise, runs the
    /// end of a longer schedule
    /// ([`Schedule::tail_of_kind`](crate::scheduler::Schedule::tail_of_kind)), and steers
    /// predictions ([`Steering`]) by any share of each latent pixel.
    ComfyUi,
}

/// The first of `steps` that is run, counted from 0, if an image is changed by `strength`, from 0
/// (not at all) to 1 (wholly). The share `1 - strength` of the steps is left out, rounded down.
///
/// The result is `None` if no step would be left.
pub fn first_step(steps: usize, strength: f64) -> Option<usize> {
    let kept = (steps as f64 * strength).min(steps as f64);
    let first = (steps as f64 - kept).max(0.0) as usize;
    (first < steps).then_some(first)
}

/// An image to start from, and the noise that goes with it, both f32
/// `[1, image tokens, features]`.
#[derive(Clone, Debug)]
pub struct InitImage<B: Backend> {
    clean: Tensor<B, 3>,
    noise: Tensor<B, 3>,
    /// 1 where the image is repainted.
    mask: Option<Tensor<B, 3>>,
}

impl<B: Backend> InitImage<B> {
    /// Starts from latents `clean` and their `noise`, both f32 `[1, channels, height, width]`.
    pub fn new(clean: Tensor<B, 4>, noise: Tensor<B, 4>) -> Self {
        Self {
            clean: pack(clean),
            noise: pack(noise),
            mask: None,
        }
    }

    /// Draws from a seed: first latents from the posterior, then the noise.
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

    /// Adds a mask, f32 `[1, 1, height, width]` in latent pixels, as [`LatentMask::tensor`] gives
    /// it: where it is 0, the image stays.
    pub fn masked(self, mask: Tensor<B, 4>) -> Self {
        let features = self.clean.dims()[2];
        let mask = pack(mask);
        // A token's features are the same four pixels, channel by channel.
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

    /// Puts the image back into `latents`, f32 `[1, image tokens, features]` at the noise level
    /// `sigma`, in the part that stays.
    pub fn put_back(&self, latents: Tensor<B, 3>, sigma: f32) -> Tensor<B, 3> {
        match &self.mask {
            None => latents,
            Some(mask) => {
                let kept = self.at(sigma) * (mask.clone() * -1.0 + 1.0);
                kept + latents * mask.clone()
            }
        }
    }

    /// The steering of predictions by which the unmasked part stays; `None` without a mask.
    pub fn steering(&self) -> Option<&dyn Steering<B>> {
        self.mask.is_some().then_some(self as &dyn Steering<B>)
    }

    /// The clean latents, f32 `[1, image tokens, features]`.
    pub fn clean(&self) -> Tensor<B, 3> {
        self.clean.clone()
    }

    /// The noise, f32 `[1, image tokens, features]`.
    pub fn noise(&self) -> Tensor<B, 3> {
        self.noise.clone()
    }

    /// The mask, f32 `[1, image tokens, features]`: 1 where the image is repainted.
    pub fn mask(&self) -> Option<Tensor<B, 3>> {
        self.mask.clone()
    }
}

impl<B: Backend> Steering<B> for InitImage<B> {
    fn shown(&self, latents: Tensor<B, 3>, sigma: f32) -> Tensor<B, 3> {
        self.put_back(latents, sigma)
    }

    fn velocity(
        &self,
        latents: Tensor<B, 3>,
        shown: Tensor<B, 3>,
        velocity: Tensor<B, 3>,
        sigma: f32,
    ) -> Tensor<B, 3> {
        let Some(mask) = &self.mask else {
            return velocity;
        };
        let predicted = shown - velocity * sigma;
        let kept = self.clean.clone() * (mask.clone() * -1.0 + 1.0);
        let target = predicted * mask.clone() + kept;
        (latents - target) / sigma
    }
}

#[cfg(test)]
mod tests {
    use burn_flex::Flex;

    use super::*;
    use crate::latents::TokenGrid;

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
    fn without_noise_the_kept_part_is_the_image() {
        let device = Default::default();
        let full = |value: f32| Tensor::<Flex, 4>::full([1, 16, 2, 2], value, &device);
        let grid = TokenGrid {
            height: 1,
            width: 1,
        };
        let mask = LatentMask::binary(&[[0; 128], [255; 128]].concat(), grid);
        let start = InitImage::new(full(3.0), full(5.0)).masked(mask.tensor(&device));
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

    #[test]
    fn steered_predictions_lead_the_kept_part_to_the_image() {
        let device = Default::default();
        let full = |value: f32| Tensor::<Flex, 4>::full([1, 16, 2, 2], value, &device);
        let tokens = |value: f32| Tensor::<Flex, 3>::full([1, 1, 64], value, &device);
        let grid = TokenGrid {
            height: 1,
            width: 1,
        };
        assert!(InitImage::new(full(3.0), full(5.0)).steering().is_none());
        // A quarter of the lower latent pixels is repainted, and nothing of the upper ones.
        let mask = LatentMask::soft(&[0, 0, 64, 64], [2, 2], grid).tensor(&device);
        let start = InitImage::new(full(3.0), full(5.0)).masked(mask);
        let steering = start.steering().expect("a mask");
        let share = 64.0 / 255.0;
        let shown = steering.shown(tokens(7.0), 0.5);
        let velocity = steering.velocity(tokens(7.0), shown.clone(), tokens(2.0), 0.5);
        let values = |tensor: Tensor<Flex, 3>| tensor.into_data().iter::<f32>().collect::<Vec<_>>();
        let lower = 4.0 * (1.0 - share) + 7.0 * share;
        let expected_shown = [4.0, 4.0, lower, lower];
        let target = (lower - 1.0) * share + 3.0 * (1.0 - share);
        // The kept part is at 7 and leads to 3 in half a unit.
        let expected = [8.0, 8.0, (7.0 - target) / 0.5, (7.0 - target) / 0.5];
        for (found, expected) in [
            (values(shown), expected_shown),
            (values(velocity), expected),
        ] {
            for channel in found.chunks_exact(4) {
                for (found, expected) in channel.iter().zip(expected) {
                    assert!((found - expected).abs() < 1e-5, "{channel:?}");
                }
            }
        }
    }
}
