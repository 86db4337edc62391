//! Heun's method follows the mean of the velocities at both ends of the step. The velocity at the
//! far end is that of the latents at which Euler's method arrives (Karras et al., "Elucidating the Design Space of Diffusion-Based
//! Generative Models", 2022, algorithm 1, without noise added).

use burn::tensor::Tensor;
use burn::tensor::backend::Backend;

use super::{Interval, Velocity, euler};

/// Takes a step: `x + (next - σ) (v(x, σ) + v(x', next)) / 2` with Euler's `x'`. The step down to 0
/// is Euler's own, since the model predicts nothing there.
pub(super) fn step<B: Backend, E>(
    latents: Tensor<B, 3>,
    interval: Interval,
    velocity: &mut Velocity<'_, B, E>,
) -> Result<Tensor<B, 3>, E> {
    if interval.next == 0.0 {
        return euler::step(latents, interval, velocity);
    }
    let length = interval.next - interval.sigma;
    let near = velocity(latents.clone(), interval.sigma)?;
    let arrived = latents.clone() + near.clone() * length;
    let far = velocity(arrived, interval.next)?;
    Ok(latents + (near + far) * 0.5 * length)
}
