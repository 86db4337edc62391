//! The encoder's answer: a normal distribution of latents, independent for each element (Kingma &
//! Welling, "Auto-Encoding Variational Bayes", 2013).

use burn::tensor::Tensor;
use burn::tensor::backend::Backend;

use super::statistics::Statistics;
use crate::config::VaeConfig;

/// Bounds of the log variance, as in the reference's `DiagonalGaussianDistribution`.
const LOG_VARIANCE: (f32, f32) = (-30.0, 20.0);

/// The distribution of an image's latents.
#[derive(Clone, Debug)]
pub struct Posterior<B: Backend> {
    /// f32 `[batch, z_dim, h, w]`, not normalised.
    mean: Tensor<B, 4>,
    /// The logarithm of the variance, of the same shape.
    log_variance: Tensor<B, 4>,
    statistics: Statistics,
}

impl<B: Backend> Posterior<B> {
    /// The posterior of [`moments`](Self::moments), f32 `[batch, 2 * z_dim, h, w]`, that a VAE of
    /// these sizes gave.
    pub fn of_moments(moments: Tensor<B, 4>, config: &VaeConfig) -> Self {
        Self::new(moments, Statistics::of(config))
    }

    pub(super) fn new(moments: Tensor<B, 4>, statistics: Statistics) -> Self {
        let channels = moments.dims()[1] / 2;
        let (low, high) = LOG_VARIANCE;
        Self {
            mean: moments.clone().narrow(1, 0, channels),
            log_variance: moments.narrow(1, channels, channels).clamp(low, high),
            statistics,
        }
    }

    /// The moments f32 `[batch, 2 * z_dim, h, w]`: means, then log variances within their bounds.
    pub fn moments(&self) -> Tensor<B, 4> {
        Tensor::cat(vec![self.mean.clone(), self.log_variance.clone()], 1)
    }

    /// The likeliest latents f32 `[batch, z_dim, h, w]`, normalised as the transformer sees them.
    pub fn mode(&self) -> Tensor<B, 4> {
        self.statistics.normalise(self.mean.clone())
    }

    /// Latents drawn with standard normal `noise` f32 `[batch, z_dim, h, w]`, normalised as the
    /// transformer sees them.
    pub fn sample(&self, noise: Tensor<B, 4>) -> Tensor<B, 4> {
        let std = (self.log_variance.clone() * 0.5).exp();
        self.statistics.normalise(self.mean.clone() + std * noise)
    }
}
