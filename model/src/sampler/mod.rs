//! Samplers: numerical solvers of the probability-flow ODE `dx / dσ = v(x, σ)` of flow matching
//! (Lipman et al., "Flow Matching for Generative Modeling", 2023), along whatever noise levels a
//! [`Schedule`](crate::scheduler::Schedule) gives, down to 0.
//!
//! At a level `σ` the latents are `x = (1 - σ) x0 + σ noise`, so the signal's share is `1 - σ`,
//! the image that a velocity points to is `x0 = x - σ v`, and half the logarithm of the
//! signal-to-noise ratio, the time of the multistep solvers, is `λ = ln((1 - σ) / σ)`.

mod dpmpp2m;
mod euler;
mod heun;
mod multistep;
mod unipc;

use burn::tensor::Tensor;
use burn::tensor::backend::Backend;

pub use dpmpp2m::DpmPp2m;
pub use unipc::UniPc;

/// The solvers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum SamplerKind {
    /// First order; diffusers' `FlowMatchEulerDiscreteScheduler`.
    #[default]
    Euler,
    /// Second order with two predictions a step; diffusers' `FlowMatchHeunDiscreteScheduler`.
    Heun,
    /// Second order from one prediction a step and the one before; diffusers'
    /// `DPMSolverMultistepScheduler` with flow sigmas.
    DpmPp2m,
    /// [`DpmPp2m`](Self::DpmPp2m) with a correction by the next step's prediction; diffusers'
    /// `UniPCMultistepScheduler` with flow sigmas.
    UniPc,
}

impl SamplerKind {
    /// All kinds.
    pub const ALL: [Self; 4] = [Self::Euler, Self::Heun, Self::DpmPp2m, Self::UniPc];

    /// The number of times that the transformer is asked for a velocity in `steps` steps. Guidance
    /// by a negative prompt doubles the work of each call, not their number.
    pub fn model_calls(self, steps: usize) -> usize {
        match self {
            Self::Euler | Self::DpmPp2m | Self::UniPc => steps,
            // The last step, down to no noise, is Euler's.
            Self::Heun => (2 * steps).saturating_sub(1),
        }
    }
}

/// A step between two noise levels, `1 >= sigma > next >= 0`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Interval {
    /// The noise level of the latents at the beginning.
    pub sigma: f32,
    /// The noise level of the latents at the end.
    pub next: f32,
}

/// A function that predicts the velocity of latents at a noise level. Latents and velocity are f32
/// `[1, tokens, features]`.
pub type Velocity<'a, B, E> = dyn FnMut(Tensor<B, 3>, f32) -> Result<Tensor<B, 3>, E> + 'a;

/// A solver with its memory of earlier steps. Each image needs one of its own.
#[derive(Clone, Debug)]
pub enum Sampler<B: Backend> {
    /// See [`SamplerKind::Euler`].
    Euler,
    /// See [`SamplerKind::Heun`].
    Heun,
    /// See [`SamplerKind::DpmPp2m`].
    DpmPp2m(DpmPp2m<B>),
    /// See [`SamplerKind::UniPc`].
    UniPc(UniPc<B>),
}

impl<B: Backend> Sampler<B> {
    /// A sampler that has taken no step.
    pub fn new(kind: SamplerKind) -> Self {
        match kind {
            SamplerKind::Euler => Self::Euler,
            SamplerKind::Heun => Self::Heun,
            SamplerKind::DpmPp2m => Self::DpmPp2m(DpmPp2m::default()),
            SamplerKind::UniPc => Self::UniPc(UniPc::default()),
        }
    }

    /// Takes `latents`, f32 `[1, tokens, features]`, from one noise level to the next. Steps
    /// follow one another: `interval.sigma` is the `next` of the step before.
    ///
    /// # Errors
    /// The errors of `velocity`.
    pub fn step<E>(
        &mut self,
        latents: Tensor<B, 3>,
        interval: Interval,
        velocity: &mut Velocity<'_, B, E>,
    ) -> Result<Tensor<B, 3>, E> {
        match self {
            Self::Euler => euler::step(latents, interval, velocity),
            Self::Heun => heun::step(latents, interval, velocity),
            Self::DpmPp2m(solver) => solver.step(latents, interval, velocity),
            Self::UniPc(solver) => solver.step(latents, interval, velocity),
        }
    }
}
