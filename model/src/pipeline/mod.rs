//! The phases of making an image, as plain functions.
//!
//! Each phase needs one model, so that a caller can hold one at a time: encode every prompt with
//! the text encoder and drop it; denoise with the transformer and drop it; decode with the VAE.
//!
//! 1. [`encode_prompt`] for every prompt and negative prompt;
//! 2. a [`Schedule`](crate::scheduler::Schedule) for the image's size, and [`modulations`] of its
//!    timesteps, after which the layers that modulate are not needed;
//! 3. [`noise_of_seed`], and [`denoise`] with a [`Denoising`] that holds it;
//! 4. [`decode`].
//!
//! [`encode_prompts`], [`modulations`] and [`denoise`] take the blocks of their model from a
//! [`BlockSource`](crate::BlockSource), so that those need not be in memory all at once.
//!
//! An [`Observer`] sees the results on the way and can end a phase. The caller provides the
//! models: `cli/examples/generate.rs` loads them from files, on any backend.
//!
//! # Panics
//! Burn's operations return no errors. If a device fails (its memory runs out, a kernel cannot be
//! compiled, its driver reports an error), the operation that notices it panics, and the phase with
//! it. On a GPU, which computes while the host goes on, that may be a later operation than the one
//! that failed. CubeCL works for a GPU on threads of its own, and a panic there may not reach the
//! caller at all: the phase then returns numbers that mean nothing. So a program that computes on a
//! GPU should note panics of all threads (`std::panic::set_hook`) and look at them before it uses a
//! result. After such a panic nothing that the device holds can be trusted.

mod denoise;
mod encode;
mod error;
mod modulate;
mod observer;

pub use denoise::{AfterStep, Denoising, Steering, denoise};
pub use encode::{Embed, encode_prompt, encode_prompts};
pub use error::PipelineError;
pub use modulate::modulations;
pub use observer::{Branch, Observer};

use backends::ModelBackend;
use burn::tensor::backend::Backend;
use burn::tensor::{DType, Tensor, TensorData};

use crate::latents::{TokenGrid, unpack};
use crate::noise::NoiseGenerator;
use crate::vae::{Posterior, Tiling, VaeDecoder, VaeEncoder};

/// Draws the noise of a seed in the VAE's layout: f32 `[1, channels, height, width]` for an image of
/// `grid` tokens, equal to diffusers' and ComfyUI's on a CPU generator.
pub fn noise_of_seed<B: Backend>(
    seed: u64,
    channels: usize,
    grid: TokenGrid,
    device: &B::Device,
) -> Tensor<B, 4> {
    let shape = grid.latent_shape(channels);
    let values = NoiseGenerator::new(seed).draw(shape.iter().product());
    Tensor::from_data(TensorData::new(values, shape), (device, DType::F32))
}

/// Encodes pixels, f32 `[1, 3, height, width]` in `[-1, 1]`, both sides multiples of 16, to the
/// posterior over their latents. The tiling decides how much memory that takes, and changes nothing
/// else.
///
/// # Errors
/// The observer cancelled.
///
/// # Panics
/// The device fails; see [the module](self#panics).
pub fn encode_image<B: ModelBackend>(
    vae: &VaeEncoder<B>,
    pixels: Tensor<B, 4>,
    tiling: Tiling,
    observer: &dyn Observer<B>,
) -> Result<Posterior<B>, PipelineError> {
    vae.encode(pixels, tiling, &|| observer.cancelled())
        .ok_or(PipelineError::Cancelled)
}

/// Decodes latents, f32 `[1, image tokens, features]`, to pixels, f32 `[1, 3, height, width]` in
/// `[-1, 1]`. The tiling decides how much memory that takes, and changes nothing else.
///
/// # Errors
/// The observer cancelled.
///
/// # Panics
/// The device fails; see [the module](self#panics).
pub fn decode<B: ModelBackend>(
    vae: &VaeDecoder<B>,
    latents: Tensor<B, 3>,
    grid: TokenGrid,
    tiling: Tiling,
    observer: &dyn Observer<B>,
) -> Result<Tensor<B, 4>, PipelineError> {
    vae.decode(unpack(latents, grid), tiling, &|| observer.cancelled())
        .ok_or(PipelineError::Cancelled)
}
