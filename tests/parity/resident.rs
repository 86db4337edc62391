//! Passes through a transformer that is wholly in memory.

use burn::tensor::{FloatDType, Tensor};
use model::pipeline::{self, Denoising, Observer, PipelineError};
use model::transformer::{Modulations, Prompts};
use model::{Resident, Transformer};

use crate::Flex;

/// A transformer's f32 predictions at a noise level, f32 `[prompts, image tokens, features]`.
pub(crate) fn predictions(
    transformer: &Transformer<Flex>,
    latents: Tensor<Flex, 3>,
    prompts: &Prompts<Flex>,
    timestep: f32,
) -> Tensor<Flex, 3> {
    let (dtype, never) = (FloatDType::F32, || false);
    let table = modulations(transformer, &[timestep], dtype);
    let found = table
        .find(timestep)
        .expect("the timestep that was computed");
    let predictions = transformer.forward(latents, prompts, found, dtype, &never);
    predictions.expect("not cancelled")
}

/// The modulations of timesteps by a transformer that is wholly in memory.
pub(crate) fn modulations(
    transformer: &Transformer<Flex>,
    timesteps: &[f32],
    dtype: FloatDType,
) -> Modulations<Flex> {
    let mut layers = Resident(&transformer.block_modulations);
    let device = Default::default();
    pipeline::modulations(transformer, &mut layers, timesteps, dtype, &device, &())
        .expect("modulations")
}

/// Denoises with a transformer that is wholly in memory.
pub(crate) fn denoise(
    transformer: &Transformer<Flex>,
    work: Denoising<'_, Flex>,
    observer: &mut dyn Observer<Flex>,
) -> Result<Tensor<Flex, 3>, PipelineError> {
    let table = modulations(
        transformer,
        &work.schedule.timesteps(work.start),
        work.dtype,
    );
    let mut blocks = Resident(&transformer.transformer_blocks);
    pipeline::denoise(transformer, &mut blocks, &table, work, observer)
}
