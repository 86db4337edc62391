//! What the denoising of an image starts from: noise, or an image with noise.

use backends::ModelBackend;
use burn::tensor::{DType, Tensor, TensorData};
use model::init_image::{InitImage, StartStyle};
use model::latents::unpack;
use model::pipeline;
use model::vae::Posterior;

use super::image_job::ImageJob;
use super::observer::record;
use super::run::Run;
use crate::error::CliError;

/// The first latents, and what they were made of.
pub(super) struct Start<B: ModelBackend> {
    /// f32 `[1, channels, height, width]` at the noise level of the image's first step.
    pub(super) latents: Tensor<B, 4>,
    /// The image to start from, where there is one.
    pub(super) image: Option<InitImage<B>>,
}

impl<B: ModelBackend> Start<B> {
    /// That of an image; `moments` are those of the init image at each size.
    ///
    /// # Errors
    /// The device fails.
    pub(super) fn of(
        run: &mut Run<'_>,
        job: &ImageJob,
        moments: &[TensorData],
        device: &B::Device,
    ) -> Result<Self, CliError> {
        let grid = job.grid();
        let image = init_image::<B>(run, job, moments, device);
        let noise = match &image {
            Some(image) => unpack(image.noise(), grid),
            None => noise(run, job, device),
        };
        let sigmas = job.schedule.sigmas();
        let latents = match &image {
            Some(image) => unpack(image.at(sigmas[job.first]), grid),
            None => noise.clone(),
        };
        if let Some(trace) = &mut run.trace {
            record(trace, "noise", noise.unsqueeze_dim::<5>(1))?;
            trace.add_f32("sigmas", &[sigmas.len()], sigmas);
            if let Some(image) = &image {
                trace.add_i64("start", &[1], &[job.first as i64]);
                record(trace, "image_latents", unpack(image.clean(), grid))?;
                record(trace, "latents.start", image.at(sigmas[job.first]))?;
                if let Some(mask) = image.mask() {
                    record(trace, "mask", mask)?;
                }
            }
        }
        Ok(Self { latents, image })
    }
}

/// The init image at the image's size, with its noise and its mask.
fn init_image<B: ModelBackend>(
    run: &Run<'_>,
    job: &ImageJob,
    moments: &[TensorData],
    device: &B::Device,
) -> Option<InitImage<B>> {
    let starts = run.job.starts.iter().zip(moments);
    let size = (job.width, job.height);
    let (start, moments) = starts.into_iter().find(|(start, _)| start.size == size)?;
    let moments = Tensor::from_data(moments.clone(), (device, DType::F32));
    let posterior = Posterior::of_moments(moments, &run.job.models.vae.config);
    let image = match (&job.noise, job.sampling.preset.start_style()) {
        (None, StartStyle::Diffusers) => InitImage::of_seed(&posterior, job.seed),
        // Without a seed there is nothing to draw latents with: they are the likeliest ones, which
        // ComfyUI always takes.
        _ => InitImage::new(posterior.mode(), noise(run, job, device)),
    };
    Some(match &start.mask {
        Some(mask) => image.masked(mask.tensor(device)),
        None => image,
    })
}

fn noise<B: ModelBackend>(run: &Run<'_>, job: &ImageJob, device: &B::Device) -> Tensor<B, 4> {
    let channels = run.job.models.vae.config.z_dim;
    match &job.noise {
        Some(values) => {
            let data = TensorData::new(values.clone(), job.grid().latent_shape(channels));
            Tensor::from_data(data, (device, DType::F32))
        }
        None => pipeline::noise_of_seed(job.seed, channels, job.grid(), device),
    }
}
