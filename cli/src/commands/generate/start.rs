//! What the denoising of a picture starts from: noise, or a picture with noise.

use backends::ModelBackend;
use burn::tensor::{DType, Tensor, TensorData};
use model::init_image::{InitImage, StartStyle};
use model::latents::unpack;
use model::pipeline;
use model::vae::Posterior;

use super::observer::record;
use super::picture::Picture;
use super::run::Run;
use crate::error::CliError;

/// The first latents, and what they were made of.
pub(super) struct Start<B: ModelBackend> {
    /// f32 `[1, channels, height, width]` at the noise level of the picture's first step.
    pub(super) latents: Tensor<B, 4>,
    /// The picture to start from, where there is one.
    pub(super) image: Option<InitImage<B>>,
}

impl<B: ModelBackend> Start<B> {
    /// That of a picture; `moments` are those of the init image at each size.
    ///
    /// # Errors
    /// The device fails.
    pub(super) fn of(
        run: &mut Run<'_>,
        picture: &Picture,
        moments: &[TensorData],
        device: &B::Device,
    ) -> Result<Self, CliError> {
        let grid = picture.grid();
        let image = init_image::<B>(run, picture, moments, device);
        let noise = match &image {
            Some(image) => unpack(image.noise(), grid),
            None => noise(run, picture, device),
        };
        let sigmas = picture.schedule.sigmas();
        let latents = match &image {
            Some(image) => unpack(image.at(sigmas[picture.first]), grid),
            None => noise.clone(),
        };
        if let Some(trace) = &mut run.trace {
            record(trace, "noise", noise.unsqueeze_dim::<5>(1))?;
            trace.add_f32("sigmas", &[sigmas.len()], sigmas);
            if let Some(image) = &image {
                trace.add_i64("start", &[1], &[picture.first as i64]);
                record(trace, "image_latents", unpack(image.clean(), grid))?;
                record(trace, "latents.start", image.at(sigmas[picture.first]))?;
                if let Some(mask) = image.mask() {
                    record(trace, "mask", mask)?;
                }
            }
        }
        Ok(Self { latents, image })
    }
}

/// The init image at the picture's size, with its noise and its mask.
fn init_image<B: ModelBackend>(
    run: &Run<'_>,
    picture: &Picture,
    moments: &[TensorData],
    device: &B::Device,
) -> Option<InitImage<B>> {
    let starts = run.job.starts.iter().zip(moments);
    let size = (picture.width, picture.height);
    let (start, moments) = starts.into_iter().find(|(start, _)| start.size == size)?;
    let moments = Tensor::from_data(moments.clone(), (device, DType::F32));
    let posterior = Posterior::of_moments(moments, &run.job.models.vae.config);
    let image = match (&picture.noise, picture.sampling.preset.start_style()) {
        (None, StartStyle::Diffusers) => InitImage::of_seed(&posterior, picture.seed),
        // Without a seed there is nothing to draw latents with: they are the likeliest ones, which
        // ComfyUI always takes.
        _ => InitImage::new(posterior.mode(), noise(run, picture, device)),
    };
    Some(match &start.mask {
        Some(mask) => image.masked(mask.tensor(device)),
        None => image,
    })
}

fn noise<B: ModelBackend>(run: &Run<'_>, picture: &Picture, device: &B::Device) -> Tensor<B, 4> {
    let channels = run.job.models.vae.config.z_dim;
    match &picture.noise {
        Some(values) => {
            let data = TensorData::new(values.clone(), picture.grid().latent_shape(channels));
            Tensor::from_data(data, (device, DType::F32))
        }
        None => pipeline::noise_of_seed(picture.seed, channels, picture.grid(), device),
    }
}
