//! DPM-Solver++(2M) (Lu et al., "DPM-Solver++: Fast Solver for Guided Sampling of Diffusion
//! Probabilistic Models", 2022, algorithm 2), midpoint form, for flow matching.

use burn::tensor::Tensor;
use burn::tensor::backend::Backend;

use super::multistep::{Prediction, extrapolated, towards};
use super::{Interval, Velocity};

/// Remembers the prediction of the step before. The first step, and the one down to no noise, are
/// of first order.
#[derive(Clone, Debug)]
pub struct DpmPp2m<B: Backend> {
    earlier: Option<Prediction<B>>,
}

impl<B: Backend> Default for DpmPp2m<B> {
    fn default() -> Self {
        Self { earlier: None }
    }
}

impl<B: Backend> DpmPp2m<B> {
    pub(super) fn step<E>(
        &mut self,
        latents: Tensor<B, 3>,
        interval: Interval,
        velocity: &mut Velocity<'_, B, E>,
    ) -> Result<Tensor<B, 3>, E> {
        let slope = velocity(latents.clone(), interval.sigma)?;
        let current = Prediction {
            sigma: interval.sigma,
            x0: latents.clone() - slope * interval.sigma,
        };
        let target = extrapolated(&current, self.earlier.as_ref(), interval);
        self.earlier = Some(current);
        Ok(towards(latents, interval, target))
    }
}
