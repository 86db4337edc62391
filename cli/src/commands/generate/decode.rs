//! Latents become images.

use backends::ModelBackend;
use burn::tensor::{DType, Tensor, TensorData};
use engine::Error;
use engine::files::atomic;
use engine::image::RgbImage;
use engine::record::Metadata;
use model::VaeDecoder;
use model::pipeline;

use super::damage::blame;
use super::job::Job;
use super::observer::{Interruptible, to_host};
use super::run::{Loaded, Run};
use crate::error::CliError;
use crate::interrupt;
use crate::plan::PhaseName;
use crate::survey;

/// Loads the VAE's decoder.
///
/// # Errors
/// As of [`Run::load`].
pub(super) fn load<B: ModelBackend>(
    run: &mut Run<'_>,
    device: &B::Device,
) -> Result<Loaded<VaeDecoder<B>>, CliError> {
    let vae = survey::vae_decoder::<B>(&run.job.models.vae, device);
    let weights = &run.job.models.vae.weights;
    run.load(PhaseName::Decode, vae, weights, device)
}

/// The init image with what was drawn of it in its place, where that is only a part.
fn overlaid(job: &Job<'_>, drawn: RgbImage) -> Result<RgbImage, CliError> {
    let Some(init) = job.init.as_ref().filter(|init| init.mask_crop.is_some()) else {
        return Ok(drawn);
    };
    let RgbImage {
        width,
        height,
        pixels,
    } = drawn;
    let image = image::RgbImage::from_raw(width, height, pixels)
        .and_then(|drawn| init.overlaid(&drawn))
        .ok_or_else(|| CliError::internal("the drawn part has no place".to_owned()))?;
    let (width, height) = image.dimensions();
    Ok(RgbImage {
        width,
        height,
        pixels: image.into_raw(),
    })
}

/// Decodes the latents of an image counted from 0, writes it and prints its path.
///
/// # Errors
/// What goes wrong on the way; Ctrl-C.
pub(super) fn image<B: ModelBackend>(
    run: &mut Run<'_>,
    vae: &Loaded<VaeDecoder<B>>,
    latents: TensorData,
    index: usize,
    device: &B::Device,
) -> Result<(), CliError> {
    let job = &run.job.images[index];
    let computing = run.compute::<B>(device);
    let busy = run.progress.busy("Decoding the image");
    let latents = Tensor::<B, 3>::from_data(latents, (device, DType::F32));
    let tiling = vae.planned.tiling;
    let pixels = B::in_exact_memory(device, || {
        pipeline::decode(&vae.module, latents, job.grid(), tiling, &Interruptible)
    })?;
    let planes = to_host(pixels)?;
    drop(busy);
    vae.check_files()?;
    if let Some(trace) = &mut run.trace {
        let shape = [1, 3, job.height as usize, job.width as usize];
        trace.add_f32("image", &shape, &planes);
    }
    let rounding = job.sampling.preset.rounding();
    let image = RgbImage::from_planes(&planes, job.width, job.height, rounding);
    let image = image.map_err(|error| match error {
        Error::NotFinite => blame(&run.job.models.vae.weights, run.job.console, error),
        error => error.into(),
    })?;
    let image = overlaid(run.job, image)?;
    let file = image.encode(
        job.target.format(),
        run.job.config.quality,
        &Metadata::of(&job.recipe)?,
    )?;
    interrupt::check()?;
    let path = atomic::write_target(&job.target, &file)?;
    run.waiting.written(index);
    if let Some(previews) = &mut run.previews {
        previews.end(index);
    }
    run.computed(computing, &vae.planned);
    run.tell_made_before(job.place)?;
    run.tell(path, &job.recipe, false)
}
