//! Images to start from become distributions of latents.

use backends::{ModelBackend, OnBackend};
use burn::tensor::{DType, Tensor, TensorData};
use model::{VaeEncoder, pipeline};

use super::Places;
use super::damage::blame;
use super::load::Loaded;
use super::residency::{ImageEncoding, Residents, acquire, release};
use super::run::Run;
use super::to_host::{Interruptible, to_host};
use crate::error::Error;
use crate::events::{Activity, Event};

/// Encodes the images to start from at each size that is drawn. The moments, f32
/// `[1, 2 * channels, height, width]` in the order of the job's starts, wait in host memory.
pub(super) struct EncodeImage<'r, 'a> {
    /// The job under way.
    pub(super) run: &'r mut Run<'a>,
    /// The models that stay.
    pub(super) places: &'r mut Places,
}

impl OnBackend for EncodeImage<'_, '_> {
    type Output = Result<Vec<TensorData>, Error>;

    fn run<B: ModelBackend>(self, device: B::Device) -> Self::Output {
        let Self { run, places } = self;
        if run.job.starts.is_empty() {
            return Ok(Vec::new());
        }
        let mut residents = Residents::<B>::take(&mut places.device);
        let loaded = acquire::<B, ImageEncoding>(run, &mut residents, &device)?;
        let moments = encode::<B>(run, &loaded, &device);
        if run.leaves_models(&moments) {
            release::<B, ImageEncoding>(run, &mut residents, loaded, &device)?;
            places.device = Some(Box::new(residents));
        }
        moments
    }
}

fn encode<B: ModelBackend>(
    run: &mut Run<'_>,
    loaded: &Loaded<B, VaeEncoder<B>>,
    device: &B::Device,
) -> Result<Vec<TensorData>, Error> {
    let job = run.job;
    let mut all = Vec::with_capacity(job.starts.len());
    for start in &job.starts {
        let computing = run.compute::<B>(device);
        run.observer.event(Event::Begin(Activity::EncodeImage));
        let (width, height) = start.size;
        let shape = [1, 3, height as usize, width as usize];
        // At one size at a time: a job may have hundreds.
        let planes = start.image.planes_at(width, height);
        run.trace("pixels", &shape, &planes);
        let moments = B::with_exact_allocations(device, || {
            let pixels = TensorData::new(planes, shape);
            let pixels = Tensor::<B, 4>::from_data(pixels, (device, DType::F32));
            let tiling = loaded.planned.tiling;
            let cancel = Interruptible(run.cancel);
            pipeline::encode_image(&loaded.module, pixels, tiling, &cancel)
                .map(|posterior| posterior.moments())
        })?;
        let moments_shape = moments.dims();
        let moments = to_host(run, moments)?;
        run.observer.event(Event::End);
        loaded.check_files()?;
        if !moments.iter().all(|value| value.is_finite())
            && let Some(weights) = &run.session.models.vae_encoder
        {
            return Err(blame(run, weights, Error::NotFiniteLatents));
        }
        run.computed(computing, &loaded.planned, None);
        run.trace("moments", &moments_shape, &moments);
        all.push(TensorData::new(moments, moments_shape));
    }
    Ok(all)
}
