//! Noise becomes latents.

use backends::ModelBackend;
use burn::tensor::{DType, Tensor, TensorData};
use model::Transformer;
use model::guidance::Guidance;
use model::init_image::StartStyle;
use model::pipeline::{self, AfterStep, Denoising, PipelineError};
use model::transformer::Modulations;

use super::blocks::{Pace, streamed_since};
use super::damage::blame;
use super::draw::Encoded;
use super::load::Loaded;
use super::modulate;
use super::run::Run;
use super::start::Start;
use super::step_observer::StepObserver;
use super::to_host::to_host;
use crate::error::Error;
use crate::events::{Activity, Event};
use crate::plan::pass_flops;

/// Denoises an image counted from 0, guided by its texts. The latents are in host memory. What the
/// `table` of modulations lacks is added to it first.
///
/// # Errors
/// The errors of denoising; [`Error::Interrupted`].
pub(super) fn image<B: ModelBackend>(
    run: &mut Run<'_>,
    transformer: &Loaded<B, Transformer<B>>,
    encoded: &Encoded,
    table: &mut Modulations<B>,
    index: usize,
    device: &B::Device,
) -> Result<TensorData, Error> {
    let job = run.job;
    let image = &job.images()[index];
    let settled = &image.settled;
    let computing = run.compute::<B>(device);
    let on_device =
        |text: usize| Tensor::<B, 3>::from_data(encoded.embeds[text].clone(), (device, DType::F32));
    let start = Start::<B>::of(run, image, &encoded.moments, device)?;
    run.observer.event(Event::Begin(Activity::Denoise {
        index,
        steps: settled.steps(),
    }));
    if let Err(error) = modulate::ensure(run, transformer, table, index, device) {
        run.observer.event(Event::End);
        return Err(error);
    }
    let prompt = on_device(image.prompt);
    let init = start.image.as_ref();
    let preset = settled.sampling.preset;
    let style = preset.start_style();
    let put_back = init
        .filter(|_| style == StartStyle::Diffusers)
        .map(|init| |latents, sigma| init.put_back(latents, sigma));
    let work = Denoising {
        guidance: image.negative.map(|text| Guidance {
            embeds: on_device(text),
            scale: settled.cfg_scale,
            rule: preset.guidance_rule(),
        }),
        centring: preset.centring(),
        sampler: settled.sampling.sampler.kind(),
        dtype: run.setting.dtype,
        start: settled.first,
        after_step: put_back.as_ref().map(|change| change as &AfterStep<'_, B>),
        steering: init
            .filter(|_| style == StartStyle::ComfyUi)
            .and_then(|init| init.steering()),
        ..Denoising::new(prompt, start.latents, settled.grid(), &settled.schedule)
    };
    let before = transformer.streamed();
    let streaming = transformer.planned.streaming.as_ref();
    let rated = run.session.with_rates_of(streaming, run.setting);
    let pace = streaming.and_then(|streaming| Pace::of(streaming, &rated));
    let mut observer = StepObserver {
        index,
        grid: settled.grid(),
        observer: run.observer,
        cancel: run.cancel,
        session: run.session,
        mark: run.mark,
        colours: run.colours.as_ref(),
        failed: None,
        ends: Vec::new(),
        pace: pace.as_ref(),
    };
    let module = &transformer.module;
    let latents = B::with_exact_allocations(device, || {
        let modules = &module.transformer_blocks;
        let mut blocks = transformer.blocks(modules, run.cancel, pace.as_ref());
        pipeline::denoise(module, &mut blocks, table, work, &mut observer)
    });
    let (failed, ends) = (observer.failed, observer.ends);
    run.observer.event(Event::End);
    if let Some(error) = failed {
        return Err(error);
    }
    if !matches!(latents, Err(PipelineError::Cancelled)) {
        transformer.check_files()?;
    }
    let latents = match latents {
        Err(PipelineError::NotFinite { step }) => return Err(not_finite(run, step)),
        latents => latents?,
    };
    let shape = latents.dims();
    let values = to_host(run, latents)?;
    if !values.iter().all(|value| value.is_finite()) {
        // Only the first step was looked at.
        return Err(not_finite(run, settled.steps()));
    }
    run.trace("latents.final", &shape, &values);
    let texts = std::iter::once(image.prompt).chain(image.negative);
    let lengths: Vec<usize> = texts.map(|text| job.texts[text].kept).collect();
    let config = &run.session.models.transformer.config;
    let flops = pass_flops(config, settled.grid().tokens(), &lengths);
    let passes = settled.model_calls() as f64 / settled.steps().max(1) as f64;
    let streamed = streamed_since(before, transformer.streamed());
    let waited = streamed.map_or(0.0, |streamed| streamed.seconds_stalled);
    run.session.keep_pace(flops, passes.round(), &ends, waited);
    if let Some((_, rate)) = pace.and_then(|pace| pace.slower()) {
        run.session.keep_disk_rate(rate);
    }
    run.computed(computing, &transformer.planned, streamed);
    Ok(TensorData::new(values, shape))
}

fn not_finite(run: &mut Run<'_>, step: usize) -> Error {
    let models = &run.session.models;
    let weights = &models.transformer.weights;
    let otherwise = Error::NotFinitePrediction {
        path: weights.source().into(),
        step,
        loras: !models.adapters.is_empty(),
        dtype: run.setting.dtype,
    };
    blame(run, weights, otherwise)
}
