//! Heun's method: along the mean of the velocities at both ends of the step, the far one taken
//! where Euler's method arrives (Karras et al., "Elucidating the Design Space of Diffusion-Based
//! Generative Models", 2022, algorithm 1, without noise added).

use burn::tensor::Tensor;
use burn::tensor::backend::Backend;

use super::{Interval, Velocity, euler};

/// `x + (next - σ) (v(x, σ) + v(x', next)) / 2` with Euler's `x'`; Euler's itself down to 0, where
/// the model has nothing to say.
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
