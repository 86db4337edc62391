//! Euler's method follows the velocity at the start of the step.

use burn::tensor::Tensor;
use burn::tensor::backend::Backend;

use super::{Interval, Velocity};

/// Takes a step: `x + (next - σ) v(x, σ)`.
pub(super) fn step<B: Backend, E>(
    latents: Tensor<B, 3>,
    interval: Interval,
    velocity: &mut Velocity<'_, B, E>,
) -> Result<Tensor<B, 3>, E> {
    let slope = velocity(latents.clone(), interval.sigma)?;
    Ok(latents + slope * (interval.next - interval.sigma))
}
