//! The scale on which the transformer sees latents.

use burn::tensor::backend::Backend;
use burn::tensor::{DType, Tensor, TensorData};

use crate::config::VaeConfig;

/// Mean and standard deviation of each latent channel.
#[derive(Clone, Debug)]
pub(super) struct Statistics {
    mean: Vec<f32>,
    std: Vec<f32>,
}

impl Statistics {
    pub(super) fn of(config: &VaeConfig) -> Self {
        let single = |values: &[f64]| values.iter().map(|&v| v as f32).collect();
        Self {
            mean: single(&config.latents_mean),
            std: single(&config.latents_std),
        }
    }

    /// The encoder's latents f32 `[batch, z_dim, h, w]` as the transformer sees them:
    /// `(x - mean) / std`, channel by channel.
    pub(super) fn normalise<B: Backend>(&self, latents: Tensor<B, 4>) -> Tensor<B, 4> {
        let device = latents.device();
        (latents - self.means(&device)) * self.reciprocals(&device)
    }

    /// The inverse: `x * std + mean`.
    pub(super) fn denormalise<B: Backend>(&self, latents: Tensor<B, 4>) -> Tensor<B, 4> {
        let device = latents.device();
        latents / self.reciprocals(&device) + self.means(&device)
    }

    fn means<B: Backend>(&self, device: &B::Device) -> Tensor<B, 4> {
        channels(self.mean.clone(), device)
    }

    /// `1 / std`. The reference multiplies and divides by the rounded reciprocal, so it is rounded
    /// here too.
    fn reciprocals<B: Backend>(&self, device: &B::Device) -> Tensor<B, 4> {
        channels(self.std.iter().map(|std| 1.0 / std).collect(), device)
    }
}

fn channels<B: Backend>(values: Vec<f32>, device: &B::Device) -> Tensor<B, 4> {
    let shape = [1, values.len(), 1, 1];
    Tensor::from_data(TensorData::new(values, shape), (device, DType::F32))
}
