//! The phases on a backend: one model at a time is loaded, used for all images, and dropped.

use std::time::Instant;

use backends::{ModelBackend, OnBackend};
use burn::module::Module;
use burn::tensor::{DType, FloatDType, Tensor, TensorData};
use loader::{LoadReport, Weights};
use model::pipeline::{self, Denoising};
use model::tokenizer::PromptTokens;
use model::vae::Tiling;
use model::{Builder, TextEncoder, Transformer, VaeDecoder};

use super::job::{Done, Job};
use super::memory::{self, Budget};
use super::observer::{Interruptible, StepObserver, record, to_host};
use crate::args::{DtypeChoice, format_bytes};
use crate::console;
use crate::error::CliError;
use crate::interrupt;
use crate::models::Models;
use crate::output::atomic_file;
use crate::output::image::RgbImage;
use crate::output::report::{ImageRecord, Phase};
use crate::output::trace::Trace;
use crate::progress::Progress;

/// The computing part of a job.
pub(super) struct Phases<'a> {
    job: &'a Job<'a>,
    progress: Progress,
    phases: Vec<Phase>,
    images: Vec<ImageRecord>,
    trace: Option<Trace>,
}

/// The embeddings of a prompt and of a negative one.
type Embeds<B> = (Tensor<B, 3>, Option<Tensor<B, 3>>);

impl<'a> Phases<'a> {
    /// Nothing done yet.
    pub(super) fn new(job: &'a Job<'a>) -> Self {
        Self {
            job,
            progress: Progress::new(job.console),
            phases: Vec::new(),
            images: Vec::new(),
            trace: job.config.trace.is_some().then(Trace::default),
        }
    }
}

impl OnBackend for Phases<'_> {
    type Output = Result<Done, CliError>;

    fn run<B: ModelBackend>(mut self, device: B::Device) -> Self::Output {
        let dtype = compute_dtype::<B>(self.job.config.dtype, &device)?;
        let (encoder, transformer, vae) = build::<B>(&self.job.models, &device)?;
        let budget = Budget::new::<B>(self.job.config.vram_limit, &device);
        let embeds = self.encode(encoder, budget, dtype, &device)?;
        B::release_unused(&device);
        let latents = self.denoise(transformer, embeds, budget, dtype, &device)?;
        B::release_unused(&device);
        self.decode(vae, latents, budget, &device)?;
        Ok(Done {
            dtype,
            images: self.images,
            phases: self.phases,
            trace: self.trace,
        })
    }
}

/// The three models.
type Networks<B> = (TextEncoder<B>, Transformer<B>, VaeDecoder<B>);

/// The three models without contents, each checked against its file's header: a tensor that is
/// missing in the last one is told before the first is loaded.
///
/// # Errors
/// [`CliError::Load`].
fn build<B: ModelBackend>(models: &Models, device: &B::Device) -> Result<Networks<B>, CliError> {
    let (text_encoder, transformer, vae) = (&models.text_encoder, &models.transformer, &models.vae);
    let formats = |name: &str| text_encoder.weights.format(name);
    let encoder = TextEncoder::uninitialized(&text_encoder.config, &Builder::new(device, &formats));
    loader::check(&encoder, &text_encoder.weights)?;
    let formats = |name: &str| transformer.weights.format(name);
    let denoiser = Transformer::uninitialized(&transformer.config, &Builder::new(device, &formats));
    loader::check(&denoiser, &transformer.weights)?;
    let formats = |name: &str| vae.weights.format(name);
    let decoder = VaeDecoder::uninitialized(&vae.config, &Builder::new(device, &formats));
    loader::check(&decoder, &vae.weights)?;
    Ok((encoder, denoiser, decoder))
}

impl Phases<'_> {
    fn encode<B: ModelBackend>(
        &mut self,
        encoder: TextEncoder<B>,
        budget: Budget,
        dtype: FloatDType,
        device: &B::Device,
    ) -> Result<Embeds<B>, CliError> {
        let job = self.job;
        let part = &job.models.text_encoder;
        let working = memory::text_encoder_working(&part.config, job.prompt.ids.len());
        budget.check::<B>(&part.weights, working, device)?;
        let encoder = self.load("load_text_encoder", encoder, &part.weights, device)?;

        let started = Instant::now();
        let busy = self.progress.busy("Encoding the prompt");
        let encode = |tokens: &PromptTokens| {
            pipeline::encode_prompt(&encoder, tokens, dtype, device, &Interruptible)
        };
        let prompt = encode(&job.prompt)?;
        let negative = job.negative_prompt.as_ref().map(encode).transpose()?;
        sync::<B>(device)?;
        drop(busy);
        self.phases
            .push(Phase::compute("encode", started.elapsed().as_secs_f64()));

        if let Some(trace) = &mut self.trace {
            let ids: Vec<i64> = job.prompt.ids.iter().map(|&id| i64::from(id)).collect();
            trace.add_i64("input_ids", &[1, ids.len()], &ids);
            record(trace, "prompt_embeds", prompt.clone())?;
            if let Some(negative) = &negative {
                record(trace, "negative_prompt_embeds", negative.clone())?;
            }
        }
        Ok((prompt, negative))
    }

    fn denoise<B: ModelBackend>(
        &mut self,
        transformer: Transformer<B>,
        (prompt, negative): Embeds<B>,
        budget: Budget,
        dtype: FloatDType,
        device: &B::Device,
    ) -> Result<Vec<TensorData>, CliError> {
        let job = self.job;
        let part = &job.models.transformer;
        let tokens = job.grid().tokens() + prompt.dims()[1];
        let working = memory::transformer_working(&part.config, tokens);
        budget.check::<B>(&part.weights, working, device)?;
        let transformer = self.load("load_transformer", transformer, &part.weights, device)?;

        let started = Instant::now();
        let count = job.targets.len();
        let mut all = Vec::with_capacity(count);
        for image in 0..count {
            let noise = self.noise::<B>(image, device)?;
            let message = match count {
                1 => "Denoising".to_owned(),
                _ => format!("Denoising image {} of {count}", image + 1),
            };
            let mut observer = StepObserver {
                progress: self.progress.steps(&message, job.schedule.steps()),
                trace: self.trace.as_mut(),
                failed: None,
            };
            let work = Denoising {
                prompt_embeds: prompt.clone(),
                guidance: negative
                    .clone()
                    .map(|embeds| (embeds, job.config.cfg_scale)),
                noise,
                grid: job.grid(),
                schedule: &job.schedule,
                dtype,
            };
            let latents = pipeline::denoise(&transformer, work, &mut observer);
            if let Some(error) = observer.failed {
                return Err(error);
            }
            // On the host, a batch of any length leaves the device's memory to the models.
            let latents = latents?;
            let shape = latents.dims();
            let values = to_host(latents)?;
            if let Some(trace) = &mut self.trace {
                trace.add_f32("latents.final", &shape, &values);
            }
            all.push(TensorData::new(values, shape));
        }
        self.phases
            .push(Phase::compute("denoise", started.elapsed().as_secs_f64()));
        Ok(all)
    }

    fn noise<B: ModelBackend>(
        &mut self,
        image: usize,
        device: &B::Device,
    ) -> Result<Tensor<B, 4>, CliError> {
        let job = self.job;
        let channels = job.models.vae.config.z_dim;
        let noise = match &job.noise {
            Some(values) => {
                let data = TensorData::new(values.clone(), job.grid().latent_shape(channels));
                Tensor::from_data(data, (device, DType::F32))
            }
            None => pipeline::noise_of_seed(job.seed_of(image), channels, job.grid(), device),
        };
        if let Some(trace) = &mut self.trace {
            record(trace, "noise", noise.clone().unsqueeze_dim::<5>(1))?;
            let sigmas = job.schedule.sigmas();
            trace.add_f32("sigmas", &[sigmas.len()], sigmas);
        }
        Ok(noise)
    }

    fn decode<B: ModelBackend>(
        &mut self,
        vae: VaeDecoder<B>,
        latents: Vec<TensorData>,
        budget: Budget,
        device: &B::Device,
    ) -> Result<(), CliError> {
        let job = self.job;
        let part = &job.models.vae;
        let working = memory::vae_working(&part.config, job.width, job.height);
        budget.check::<B>(&part.weights, working, device)?;
        let vae = self.load("load_vae", vae, &part.weights, device)?;

        let started = Instant::now();
        for (image, (latents, target)) in latents.into_iter().zip(&job.targets).enumerate() {
            let busy = self.progress.busy("Decoding the image");
            let latents = Tensor::<B, 3>::from_data(latents, (device, DType::F32));
            let pixels =
                pipeline::decode(&vae, latents, job.grid(), Tiling::Whole, &Interruptible)?;
            let planes = to_host(pixels)?;
            drop(busy);
            if let Some(trace) = &mut self.trace {
                let shape = [1, 3, job.height as usize, job.width as usize];
                trace.add_f32("image", &shape, &planes);
            }
            let png = RgbImage::from_planes(&planes, job.width, job.height)?
                .to_png(&job.parameters(image))?;
            interrupt::check()?;
            let path = atomic_file::write_target(target, &png)?;
            console::stdout(&format!("{}\n", path.display()))?;
            self.images.push(ImageRecord {
                path,
                seed: job.noise.is_none().then(|| job.seed_of(image)),
            });
        }
        self.phases
            .push(Phase::compute("decode", started.elapsed().as_secs_f64()));
        Ok(())
    }

    /// Fills a model, tells of it, and notes its figures.
    fn load<B: ModelBackend, M: Module<B>>(
        &mut self,
        name: &'static str,
        module: M,
        weights: &Weights,
        device: &B::Device,
    ) -> Result<M, CliError> {
        let mut observer = self.progress.load(&weights.component().to_string());
        let (module, report) = loader::load(module, weights, device, &mut observer)?;
        drop(observer);
        self.job.console.note(&report.to_string());
        self.job.console.detail(&figures(&report));
        let limit = self.job.config.vram_limit;
        self.phases.push(Phase::load(name, &report, limit));
        Ok(module)
    }
}

/// What `--verbose` adds about a load.
fn figures(report: &LoadReport) -> String {
    // Of a mapping the bytes come later, as they are used.
    let mut line = match report.mapped_bytes {
        0 => format!("{:.2} GB/s", report.bytes_per_second() / 1e9),
        mapped => format!("{} used in place in the file", format_bytes(mapped)),
    };
    let known = [
        (", peak host memory", report.peak_anonymous_bytes),
        (", device memory in use", report.device_used_after),
    ];
    for (name, bytes) in known {
        if let Some(bytes) = bytes {
            line.push_str(&format!("{name} {}", format_bytes(bytes)));
        }
    }
    line
}

/// What the models' blocks compute in.
///
/// # Errors
/// [`CliError::Usage`] if the device does not know the one asked for.
fn compute_dtype<B: ModelBackend>(
    choice: DtypeChoice,
    device: &B::Device,
) -> Result<FloatDType, CliError> {
    let has_bf16 = || B::supports_dtype(device, DType::BF16);
    match choice {
        DtypeChoice::Auto if B::HOST_MEMORY || !has_bf16() => Ok(FloatDType::F32),
        DtypeChoice::F32 => Ok(FloatDType::F32),
        DtypeChoice::Bf16 if !has_bf16() => Err(CliError::Usage(
            "--dtype bf16: this device does not compute in bf16; use --dtype f32".to_owned(),
        )),
        DtypeChoice::Auto | DtypeChoice::Bf16 => Ok(FloatDType::BF16),
    }
}

/// Waits for the device, so that times are those of the work and failures show where they are.
fn sync<B: ModelBackend>(device: &B::Device) -> Result<(), CliError> {
    B::sync(device).map_err(|error| CliError::Internal(format!("the device fails: {error:?}")))
}
