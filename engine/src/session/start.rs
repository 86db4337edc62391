//! The start of denoising: noise, or an image with noise.

use backends::ModelBackend;
use burn::tensor::{DType, Tensor, TensorData};
use model::init_image::{InitImage, StartStyle};
use model::latents::unpack;
use model::pipeline;
use model::vae::Posterior;

use super::job::ImageJob;
use super::run::Run;
use super::to_host::record;
use crate::error::Error;

/// The first latents, and what they were made of.
pub(super) struct Start<B: ModelBackend> {
    /// f32 `[1, channels, height, width]` at the noise level of the image's first step.
    pub(super) latents: Tensor<B, 4>,
    /// The image to start from, where there is one.
    pub(super) image: Option<InitImage<B>>,
}

impl<B: ModelBackend> Start<B> {
    /// Makes the start of an image; `moments` are those of the job's starts.
    ///
    /// # Errors
    /// The device fails.
    pub(super) fn of(
        run: &mut Run<'_>,
        job: &ImageJob,
        moments: &[TensorData],
        device: &B::Device,
    ) -> Result<Self, Error> {
        let settled = &job.settled;
        let grid = settled.grid();
        let image = init_image::<B>(run, job, moments, device);
        let noise = match &image {
            Some(image) => unpack(image.noise(), grid),
            None => noise(run, job, device),
        };
        let sigmas = settled.schedule.sigmas();
        let first = settled.first;
        let latents = match &image {
            Some(image) => unpack(image.at(sigmas[first]), grid),
            None => noise.clone(),
        };
        if run.observer.wants_tensors() {
            record(run, "noise", noise.unsqueeze_dim::<5>(1))?;
            run.trace("sigmas", &[sigmas.len()], sigmas);
            if let Some(image) = &image {
                run.trace_whole("start", &[1], &[first as i64]);
                record(run, "image_latents", unpack(image.clean(), grid))?;
                record(run, "latents.start", image.at(sigmas[first]))?;
                if let Some(mask) = image.mask() {
                    record(run, "mask", mask)?;
                }
            }
        }
        Ok(Self { latents, image })
    }
}

/// Makes the init image at the image's size, with its noise and its mask.
fn init_image<B: ModelBackend>(
    run: &Run<'_>,
    job: &ImageJob,
    moments: &[TensorData],
    device: &B::Device,
) -> Option<InitImage<B>> {
    let start = job.start?;
    let (start, moments) = (run.job.starts.get(start)?, moments.get(start)?);
    let moments = Tensor::from_data(moments.clone(), (device, DType::F32));
    let posterior = Posterior::of_moments(moments, &run.session.models.vae.config);
    let settled = &job.settled;
    let image = match (&settled.noise, settled.sampling.preset.start_style()) {
        (None, StartStyle::Diffusers) => InitImage::of_seed(&posterior, settled.seed),
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
    let channels = run.session.models.vae.config.z_dim;
    let settled = &job.settled;
    match &settled.noise {
        Some(values) => {
            let data = TensorData::new(values.clone(), settled.grid().latent_shape(channels));
            Tensor::from_data(data, (device, DType::F32))
        }
        None => pipeline::noise_of_seed(settled.seed, channels, settled.grid(), device),
    }
}
