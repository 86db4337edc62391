//! The caller's view of a phase.

use burn::tensor::Tensor;
use burn::tensor::backend::Backend;

/// The two predictions of guidance, in the order in which they are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Branch {
    /// The prediction with the prompt.
    Conditional,
    /// The prediction with the negative prompt.
    Unconditional,
}

/// Follows a phase and may end it.
pub trait Observer<B: Backend> {
    /// Receives the transformer's first prediction of a step, f32 `[1, image tokens, features]`.
    /// Only the steps that are run are counted, from 0.
    fn prediction(&mut self, _step: usize, _branch: Branch, _prediction: &Tensor<B, 3>) {}

    /// Receives the latents, f32 `[1, image tokens, features]`, after a step, counted likewise.
    fn latents(&mut self, _step: usize, _latents: &Tensor<B, 3>) {}

    /// Returns whether [`estimate`](Self::estimate) is wanted for a step, counted likewise.
    fn estimates(&self, _step: usize) -> bool {
        false
    }

    /// Receives the latents of the image that a step's first prediction points to, `x - σ v` with
    /// the guided velocity `v`: f32 `[1, image tokens, features]`.
    fn estimate(&mut self, _step: usize, _latents: &Tensor<B, 3>) {}

    /// Returns whether the phase is to end as soon as possible.
    fn cancelled(&self) -> bool {
        false
    }
}

/// An observer that does nothing.
impl<B: Backend> Observer<B> for () {}
