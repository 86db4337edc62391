//! Noise becomes latents.

use backends::ModelBackend;
use burn::tensor::{DType, Tensor, TensorData};
use model::Transformer;
use model::guidance::{Guidance, GuidanceRule};
use model::pipeline::{self, Denoising};

use super::observer::{StepObserver, record, to_host};
use super::picture::Picture;
use super::run::{Loaded, Run};
use crate::error::CliError;
use crate::plan::PhaseName;
use crate::survey;

/// Loads the transformer.
///
/// # Errors
/// As of [`Run::load`].
pub(super) fn load<B: ModelBackend>(
    run: &mut Run<'_>,
    device: &B::Device,
) -> Result<Loaded<Transformer<B>>, CliError> {
    let transformer = survey::transformer::<B>(&run.job.models, device);
    let weights = &run.job.models.transformer.weights;
    run.load(PhaseName::Denoise, transformer, weights, device)
}

/// The latents of a picture counted from 0, in host memory, guided by the `embeds` of its texts.
///
/// # Errors
/// What goes wrong on the way; Ctrl-C.
pub(super) fn picture<B: ModelBackend>(
    run: &mut Run<'_>,
    transformer: &Loaded<Transformer<B>>,
    embeds: &[TensorData],
    index: usize,
    device: &B::Device,
) -> Result<TensorData, CliError> {
    let job = run.job;
    let picture = &job.pictures[index];
    let computing = run.compute::<B>(device);
    let on_device =
        |text: usize| Tensor::<B, 3>::from_data(embeds[text].clone(), (device, DType::F32));
    let noise = noise::<B>(run, picture, device)?;
    let message = match job.pictures.len() {
        1 => "Denoising".to_owned(),
        count => format!("Denoising image {} of {count}", index + 1),
    };
    let mut observer = StepObserver {
        progress: run.progress.steps(&message, picture.schedule.steps()),
        trace: run.trace.as_mut(),
        previews: run
            .previews
            .as_mut()
            .map(|previews| previews.begin(index, &picture.target.path, picture.grid())),
        failed: None,
    };
    let embeds = on_device(picture.prompt);
    let work = Denoising {
        guidance: picture.negative.map(|text| Guidance {
            embeds: on_device(text),
            scale: picture.cfg_scale,
            rule: GuidanceRule::Renormalised,
        }),
        dtype: run.setting.dtype,
        ..Denoising::new(embeds, noise, picture.grid(), &picture.schedule)
    };
    let latents = B::in_exact_memory(device, || {
        pipeline::denoise(&transformer.module, work, &mut observer)
    });
    if let Some(error) = observer.failed {
        return Err(error);
    }
    let latents = latents?;
    let shape = latents.dims();
    let values = to_host(latents)?;
    if let Some(trace) = &mut run.trace {
        trace.add_f32("latents.final", &shape, &values);
    }
    run.computed(computing, &transformer.planned);
    Ok(TensorData::new(values, shape))
}

fn noise<B: ModelBackend>(
    run: &mut Run<'_>,
    picture: &Picture,
    device: &B::Device,
) -> Result<Tensor<B, 4>, CliError> {
    let channels = run.job.models.vae.config.z_dim;
    let noise = match &picture.noise {
        Some(values) => {
            let data = TensorData::new(values.clone(), picture.grid().latent_shape(channels));
            Tensor::from_data(data, (device, DType::F32))
        }
        None => pipeline::noise_of_seed(picture.seed, channels, picture.grid(), device),
    };
    if let Some(trace) = &mut run.trace {
        record(trace, "noise", noise.clone().unsqueeze_dim::<5>(1))?;
        let sigmas = picture.schedule.sigmas();
        trace.add_f32("sigmas", &[sigmas.len()], sigmas);
    }
    Ok(noise)
}
