//! Latents become images.

use backends::ModelBackend;
use burn::tensor::{DType, Tensor, TensorData};
use model::{VaeDecoder, pipeline};

use super::damage::blame;
use super::job::ImageJob;
use super::load::Loaded;
use super::run::Run;
use super::to_host::{Interruptible, to_host};
use crate::error::Error;
use crate::events::{Activity, Drawn, Event};
use crate::image::RgbImage;

/// Puts what was drawn into its place in the init image, where that is only a part.
fn overlaid(image: &ImageJob, drawn: RgbImage) -> Result<RgbImage, Error> {
    let init = image.settled.image.as_deref();
    let Some(init) = init.filter(|init| init.mask_crop.is_some()) else {
        return Ok(drawn);
    };
    let RgbImage {
        width,
        height,
        pixels,
    } = drawn;
    let image = image::RgbImage::from_raw(width, height, pixels)
        .and_then(|drawn| init.overlaid(&drawn))
        .ok_or_else(|| Error::Internal("the drawn part has no place".to_owned()))?;
    let (width, height) = image.dimensions();
    Ok(RgbImage {
        width,
        height,
        pixels: image.into_raw(),
    })
}

/// Decodes the latents of an image counted from 0, and hands it over.
///
/// # Errors
/// The errors of decoding; [`Error::Interrupted`]; the error of the observer that takes the image.
pub(super) fn image<B: ModelBackend>(
    run: &mut Run<'_>,
    vae: &Loaded<B, VaeDecoder<B>>,
    latents: TensorData,
    index: usize,
    device: &B::Device,
) -> Result<(), Error> {
    let image = &run.job.images()[index];
    let settled = &image.settled;
    let computing = run.compute::<B>(device);
    run.observer.event(Event::Begin(Activity::Decode { index }));
    let latents = Tensor::<B, 3>::from_data(latents, (device, DType::F32));
    let tiling = vae.planned.tiling;
    let pixels = B::with_exact_allocations(device, || {
        let cancel = Interruptible(run.cancel);
        pipeline::decode(&vae.module, latents, settled.grid(), tiling, &cancel)
    })?;
    let planes = to_host(run, pixels)?;
    run.observer.event(Event::End);
    vae.check_files()?;
    let shape = [1, 3, settled.height as usize, settled.width as usize];
    run.trace("image", &shape, &planes);
    let rounding = settled.sampling.preset.rounding();
    let drawn = match RgbImage::from_planes(&planes, settled.width, settled.height, rounding) {
        Err(Error::NotFinite) => {
            return Err(blame(
                run,
                &run.session.models.vae.weights,
                Error::NotFinite,
            ));
        }
        drawn => drawn?,
    };
    let drawn = overlaid(image, drawn)?;
    run.cancel.check()?;
    run.observer.image(Drawn {
        index,
        image: drawn,
        recipe: settled.recipe.clone(),
    })?;
    run.waiting.written(index);
    run.computed(computing, &vae.planned, None);
    Ok(())
}
