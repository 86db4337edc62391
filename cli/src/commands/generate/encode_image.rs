//! The image to start from becomes a distribution of latents.

use backends::{ModelBackend, OnBackend};
use burn::tensor::{DType, Tensor, TensorData};
use engine::Error;
use model::pipeline;

use super::damage::blame;
use super::observer::{Interruptible, to_host};
use super::run::Run;
use crate::error::CliError;
use crate::plan::PhaseName;
use crate::survey;

/// Loads the VAE's encoder, encodes the image to start from at each size that is drawn, and drops
/// it. The moments, f32 `[1, 2 * channels, height, width]` in the order of [`Job::starts`], wait in
/// host memory. Without such an image there is nothing to do.
///
/// [`Job::starts`]: super::job::Job::starts
pub(super) struct EncodeImage<'r, 'a>(pub(super) &'r mut Run<'a>);

impl OnBackend for EncodeImage<'_, '_> {
    type Output = Result<Vec<TensorData>, CliError>;

    fn run<B: ModelBackend>(self, device: B::Device) -> Self::Output {
        let Self(run) = self;
        let job = run.job;
        let (Some(weights), Some(init)) = (&job.models.vae_encoder, &job.init) else {
            return Ok(Vec::new());
        };
        let encoder = survey::vae_encoder::<B>(&job.models, weights, &device);
        let loaded = run.load(PhaseName::EncodeImage, encoder, weights, &device)?;

        let mut all = Vec::with_capacity(job.starts.len());
        for start in &job.starts {
            let computing = run.compute::<B>(&device);
            let busy = run.progress.busy("Encoding the init image");
            let (width, height) = start.size;
            let shape = [1, 3, height as usize, width as usize];
            // At one size at a time: a run may have hundreds.
            let planes = init.planes_at(width, height);
            if let Some(trace) = &mut run.trace {
                trace.add_f32("pixels", &shape, &planes);
            }
            let moments = B::in_exact_memory(&device, || {
                let pixels = TensorData::new(planes, shape);
                let pixels = Tensor::<B, 4>::from_data(pixels, (&device, DType::F32));
                let tiling = loaded.planned.tiling;
                pipeline::encode_image(&loaded.module, pixels, tiling, &Interruptible)
                    .map(|posterior| posterior.moments())
            })?;
            let moments_shape = moments.dims();
            let moments = to_host(moments)?;
            drop(busy);
            loaded.check_files()?;
            if !moments.iter().all(|value| value.is_finite()) {
                let otherwise = Error::NotFiniteLatents;
                return Err(blame(weights, job.console, otherwise));
            }
            run.computed(computing, &loaded.planned);
            if let Some(trace) = &mut run.trace {
                trace.add_f32("moments", &moments_shape, &moments);
            }
            all.push(TensorData::new(moments, moments_shape));
        }
        run.unload::<B, _>(loaded, &device)?;
        Ok(all)
    }
}
