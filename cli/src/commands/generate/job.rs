//! One run of `generate`, settled down to the token: all that is left is to compute.

use backends::DeviceChoice;
use burn::tensor::FloatDType;
use model::latents::TokenGrid;
use model::scheduler::Schedule;
use model::tokenizer::PromptTokens;

use super::noise_file;
use super::phases::Phases;
use crate::args::GenerateConfig;
use crate::console::Console;
use crate::error::CliError;
use crate::models::Models;
use crate::output::names::Target;
use crate::output::parameters::{NoiseSource, Parameters};
use crate::output::report::{ImageRecord, Phase, Report};
use crate::output::trace::Trace;

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

/// What computing gave, besides the images.
#[derive(Debug)]
pub(super) struct Done {
    /// What the blocks computed in.
    pub(super) dtype: FloatDType,
    /// What was written.
    pub(super) images: Vec<ImageRecord>,
    /// Times and memory.
    pub(super) phases: Vec<Phase>,
    /// Tensors, if asked for.
    pub(super) trace: Option<Trace>,
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
        let (width, height) = match (config.size.width, config.size.height) {
            (Some(width), Some(height)) => (width, height),
            (width, height) => {
                let (default_width, default_height) = models.default_size()?;
                (
                    width.unwrap_or(default_width),
                    height.unwrap_or(default_height),
                )
            }
        };
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

    /// Computes and writes everything.
    ///
    /// # Errors
    /// What goes wrong on the way; Ctrl-C.
    pub(super) fn run(self, device: &DeviceChoice) -> Result<(), CliError> {
        let done = backends::dispatch(device, Phases::new(&self))??;
        if let (Some(trace), Some(path)) = (&done.trace, &self.config.trace) {
            trace.write(path)?;
        }
        if let Some(path) = &self.config.report {
            let report = Report {
                version: env!("CARGO_PKG_VERSION"),
                backend: device.kind.name(),
                device: device.index,
                dtype: match done.dtype {
                    FloatDType::BF16 => "bf16",
                    _ => "f32",
                },
                width: self.width,
                height: self.height,
                steps: self.schedule.steps(),
                cfg_scale: self.config.cfg_scale,
                guided: self.negative_prompt.is_some(),
                images: done.images,
                phases: done.phases,
            };
            report.write(path)?;
        }
        Ok(())
    }
}
