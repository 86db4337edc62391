//! One run of `generate`, settled down to the token: all that is left is to compute.

use backends::{Arithmetic, BackendKind, DeviceChoice, ModelBackend, OnBackend};
use burn::tensor::FloatDType;
use model::latents::TokenGrid;
use model::scheduler::Schedule;
use model::tokenizer::PromptTokens;

use super::draw::Draw;
use super::encode::Encode;
use super::noise_file;
use super::run::Run;
use crate::args::GenerateConfig;
use crate::console::Console;
use crate::error::CliError;
use crate::models::Models;
use crate::output::names::Target;
use crate::output::parameters::{NoiseSource, Parameters};
use crate::output::report::Report;
use crate::plan::{Setting, Work};

/// Makes a device ready for some arithmetic.
struct Prepare(Console, Arithmetic);

impl OnBackend for Prepare {
    type Output = ();

    fn run<B: ModelBackend>(self, device: B::Device) {
        if let Err(reason) = B::prepare(&device) {
            self.0.note(&format!(
                "note: without kernels of its own for this device, the program is slow: {reason}"
            ));
        }
        if self.1 == Arithmetic::Fp8 && !B::multiplies_fp8(&device) {
            self.0.note(
                "note: this device has no FP8 products: --fp8-compute rounds as they would, and \
                 gains nothing",
            );
        }
    }
}

/// What will be computed.
#[derive(Debug)]
pub(super) struct Job<'a> {
    /// The flags.
    pub(super) config: &'a GenerateConfig,
    /// Where progress goes.
    pub(super) console: Console,
    /// The files, none loaded.
    pub(super) models: Models,
    /// Pixels across.
    pub(super) width: u32,
    /// Pixels down.
    pub(super) height: u32,
    /// The first image's seed.
    pub(super) seed: u64,
    /// Noise instead of the seed's.
    pub(super) noise: Option<Vec<f32>>,
    /// The prompt.
    pub(super) prompt: PromptTokens,
    /// The negative prompt, where there is guidance.
    pub(super) negative_prompt: Option<PromptTokens>,
    /// Noise levels.
    pub(super) schedule: Schedule,
    /// A file for each image.
    pub(super) targets: Vec<Target>,
}

impl<'a> Job<'a> {
    /// Opens the models' files and checks them, and reads the prompts and the noise.
    ///
    /// # Errors
    /// Whatever is wrong with a file.
    pub(super) fn prepare(
        config: &'a GenerateConfig,
        seed: u64,
        targets: Vec<Target>,
        console: Console,
    ) -> Result<Self, CliError> {
        let models = Models::open(&config.sources)?;
        let (width, height) = models.size(config.size)?;
        let grid = TokenGrid::of_image(width as usize, height as usize);
        let steps = config.steps.map_or_else(|| models.default_steps(), Ok)?;
        let schedule = Schedule::new(&models.scheduler, steps, grid.tokens())
            .map_err(|error| CliError::Usage(error.to_string()))?;
        let latent_shape = grid.latent_shape(models.vae.config.z_dim);
        let noise = config.noise.as_deref();
        let noise = noise
            .map(|path| noise_file::read(path, latent_shape))
            .transpose()?;
        let negative_prompt = config.negative_prompt.as_deref();
        let job = Self {
            prompt: models.tokenizer.encode_prompt(&config.prompt)?,
            negative_prompt: negative_prompt
                .map(|prompt| models.tokenizer.encode_prompt(prompt))
                .transpose()?,
            config,
            console,
            models,
            width,
            height,
            seed,
            noise,
            schedule,
            targets,
        };
        job.describe();
        Ok(job)
    }

    fn describe(&self) {
        let models = &self.models;
        for weights in [
            &models.text_encoder.weights,
            &models.transformer.weights,
            &models.vae.weights,
        ] {
            self.console.detail(&format!(
                "The {}: {}, {}",
                weights.component(),
                weights.source().display(),
                weights.dialect()
            ));
        }
        self.console.detail(&format!(
            "Size: {}x{}, {} steps, {} prompt tokens",
            self.width,
            self.height,
            self.schedule.steps(),
            self.prompt.ids.len() - self.prompt.prefix
        ));
    }

    /// The size in tokens.
    pub(super) fn grid(&self) -> TokenGrid {
        TokenGrid::of_image(self.width as usize, self.height as usize)
    }

    /// The seed of an image counted from 0.
    pub(super) fn seed_of(&self, image: usize) -> u64 {
        self.seed.wrapping_add(image as u64)
    }

    /// The text for an image's metadata.
    pub(super) fn parameters(&self, image: usize) -> String {
        let source = self.models.transformer.weights.source();
        let stem = |path: &std::path::Path| {
            let stem = path.file_stem().unwrap_or_default();
            stem.to_string_lossy().into_owned()
        };
        // A diffusers folder's transformer is called `transformer`, as everybody's is.
        let model = match source.file_name().and_then(|name| name.to_str()) {
            Some("transformer") => source.parent().map(stem).unwrap_or_default(),
            _ => stem(source),
        };
        let noise_name = self.config.noise.as_ref().map(|path| {
            let name = path.file_name().unwrap_or_default();
            name.to_string_lossy().into_owned()
        });
        Parameters {
            prompt: &self.config.prompt,
            negative_prompt: self.config.negative_prompt.as_deref(),
            steps: self.schedule.steps(),
            cfg_scale: self.config.cfg_scale,
            noise: match &noise_name {
                Some(name) => NoiseSource::File(name),
                None => NoiseSource::Seed(self.seed_of(image)),
            },
            width: self.width,
            height: self.height,
            model: &model,
        }
        .text()
    }

    /// Its sizes, for a plan of its memory.
    pub(super) fn work(&self) -> Work {
        let work = Work {
            width: self.width,
            height: self.height,
            encoder_tokens: 0,
            text_tokens: 0,
            guided: self.negative_prompt.is_some(),
            images: self.targets.len(),
        };
        work.with_texts([&self.prompt].into_iter().chain(&self.negative_prompt))
    }

    /// Computes and writes everything.
    ///
    /// # Errors
    /// What goes wrong on the way; Ctrl-C.
    pub(super) fn run(self, device: &DeviceChoice, setting: Setting) -> Result<(), CliError> {
        let mut run = Run::new(&self, setting);
        let encoder_device = if self.config.compute.splits_encoder(device.kind) {
            DeviceChoice {
                kind: BackendKind::Flex,
                index: 0,
            }
        } else {
            *device
        };
        backends::dispatch(
            device,
            Prepare(self.console, self.config.compute.arithmetic),
        )?;
        let embeds = backends::dispatch(&encoder_device, Encode(&mut run))??;
        let draw = Draw {
            run: &mut run,
            embeds,
        };
        backends::dispatch(device, draw)??;
        if let (Some(trace), Some(path)) = (&run.trace, &self.config.trace) {
            trace.write(path)?;
        }
        if let Some(path) = &self.config.report {
            let report = Report {
                version: env!("CARGO_PKG_VERSION"),
                backend: device.kind.name(),
                device: device.index,
                dtype: match setting.dtype {
                    FloatDType::BF16 => "bf16",
                    _ => "f32",
                },
                width: self.width,
                height: self.height,
                steps: self.schedule.steps(),
                cfg_scale: self.config.cfg_scale,
                guided: self.negative_prompt.is_some(),
                images: run.images,
                phases: run.phases,
            };
            report.write(path)?;
        }
        Ok(())
    }
}
