//! Noise becomes latents.

use std::time::Instant;

use backends::ModelBackend;
use burn::tensor::{DType, Tensor, TensorData};
use engine::Error;
use model::Transformer;
use model::guidance::Guidance;
use model::init_image::StartStyle;
use model::pipeline::{self, AfterStep, Denoising, PipelineError};

use super::adapters;
use super::damage::blame;
use super::draw::Encoded;
use super::observer::{StepObserver, to_host};
use super::run::{Loaded, Run};
use super::start::Start;
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
    let transformer = survey::transformer::<B>(&run.job.models.transformer, device);
    let weights = &run.job.models.transformer.weights;
    let mut loaded = run.load(PhaseName::Denoise, transformer, weights, device)?;
    let arithmetic = run.job.config.compute.arithmetic;
    loaded.module.set_arithmetic(arithmetic);
    adapters::load(run, &mut loaded.module, device)?;
    Ok(loaded)
}

/// The latents of an image counted from 0, in host memory, guided by its texts.
///
/// # Errors
/// What goes wrong on the way; Ctrl-C.
pub(super) fn image<B: ModelBackend>(
    run: &mut Run<'_>,
    transformer: &Loaded<Transformer<B>>,
    encoded: &Encoded,
    index: usize,
    device: &B::Device,
) -> Result<TensorData, CliError> {
    let job = run.job;
    let image_job = &job.images[index];
    let computing = run.compute::<B>(device);
    let on_device =
        |text: usize| Tensor::<B, 3>::from_data(encoded.embeds[text].clone(), (device, DType::F32));
    let start = Start::<B>::of(run, image_job, &encoded.moments, device)?;
    let message = match job.total {
        1 => "Denoising".to_owned(),
        total => format!("Denoising image {} of {total}", image_job.place + 1),
    };
    let share = run.time.begin(index, Instant::now());
    let mut observer = StepObserver {
        progress: run.progress.steps(
            &message,
            image_job.schedule.steps() - image_job.first,
            share,
        ),
        trace: run.trace.as_mut(),
        previews: run
            .previews
            .as_mut()
            .map(|previews| previews.begin(index, &image_job.target.path, image_job.grid())),
        failed: None,
    };
    let prompt = on_device(image_job.prompt);
    let image = start.image.as_ref();
    let preset = image_job.sampling.preset;
    let style = preset.start_style();
    let put_back = image
        .filter(|_| style == StartStyle::Diffusers)
        .map(|image| |latents, sigma| image.put_back(latents, sigma));
    let work = Denoising {
        guidance: image_job.negative.map(|text| Guidance {
            embeds: on_device(text),
            scale: image_job.cfg_scale,
            rule: preset.guidance_rule(),
        }),
        centring: preset.centring(),
        sampler: image_job.sampling.sampler.kind(),
        dtype: run.setting.dtype,
        start: image_job.first,
        after_step: put_back.as_ref().map(|change| change as &AfterStep<'_, B>),
        steering: image
            .filter(|_| style == StartStyle::ComfyUi)
            .and_then(|image| image.steering()),
        ..Denoising::new(prompt, start.latents, image_job.grid(), &image_job.schedule)
    };
    let latents = B::in_exact_memory(device, || {
        pipeline::denoise(&transformer.module, work, &mut observer)
    });
    if let Some(error) = observer.failed {
        return Err(error);
    }
    if !matches!(latents, Err(PipelineError::Cancelled)) {
        transformer.check_files()?;
    }
    let dtype = run.setting.dtype;
    let not_finite = |step| {
        let weights = &job.models.transformer.weights;
        let otherwise = Error::NotFinitePrediction {
            path: weights.source().into(),
            step,
            loras: !job.models.adapters.is_empty(),
            dtype,
        };
        blame(weights, job.console, otherwise)
    };
    let latents = latents.map_err(|error| match error {
        PipelineError::NotFinite { step } => not_finite(step),
        error => error.into(),
    })?;
    let shape = latents.dims();
    let values = to_host(latents)?;
    if !values.iter().all(|value| value.is_finite()) {
        // Only the first step was looked at.
        return Err(not_finite(image_job.schedule.steps() - image_job.first));
    }
    if let Some(trace) = &mut run.trace {
        trace.add_f32("latents.final", &shape, &values);
    }
    run.computed(computing, &transformer.planned);
    Ok(TensorData::new(values, shape))
}
