//! Timesteps become modulations.

use std::error::Error;

use backends::ModelBackend;
use burn::tensor::FloatDType;

use super::{Observer, PipelineError};
use crate::block_source::BlockSource;
use crate::transformer::{BlockModulation, Modulations, Transformer};

/// Computes the modulations of timesteps, such as those of a
/// [`Schedule`](crate::scheduler::Schedule::timesteps), for [`denoise`](super::denoise) in `dtype`.
/// See [`Transformer::modulations`].
///
/// # Errors
/// The observer cancelled; [`PipelineError::Blocks`].
///
/// # Panics
/// The device fails; see [the module](super#panics).
pub fn modulations<B, S>(
    transformer: &Transformer<B>,
    layers: &mut S,
    timesteps: &[f32],
    dtype: FloatDType,
    device: &B::Device,
    observer: &dyn Observer<B>,
) -> Result<Modulations<B>, PipelineError>
where
    B: ModelBackend,
    S: BlockSource<BlockModulation<B>>,
    S::Error: Error + Send + Sync + 'static,
{
    transformer
        .modulations(timesteps, dtype, device, layers, &|| observer.cancelled())
        .map_err(PipelineError::blocks)?
        .ok_or(PipelineError::Cancelled)
}
