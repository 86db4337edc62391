//! One image of a run, settled: all that is left is to compute it.

use std::path::{Path, PathBuf};

use backends::Arithmetic;
use burn::tensor::FloatDType;
use engine::files::Target;
use engine::files::digest::ModelDigests;
use engine::image::InitImage;
use engine::record::{ImageFile, Metadata, Recipe};
use engine::request::Sampling;
use model::init_image::{StartStyle, first_step};
use model::latents::TokenGrid;
use model::scheduler::{Schedule, ScheduleError, ScheduleKind};

use super::noise_file;
use super::request::Request;
use super::texts::Texts;
use crate::args::GenerateConfig;
use crate::error::CliError;
use crate::models::{self, Models};
use crate::plan::dtype_str;

/// An image to be computed.
#[derive(Debug)]
pub(super) struct ImageJob {
    /// Its place among all images, from 0.
    pub(super) place: usize,
    /// The prompt's number among the run's texts.
    pub(super) prompt: usize,
    /// The negative prompt's, where there is guidance.
    pub(super) negative: Option<usize>,
    /// Pixels across.
    pub(super) width: u32,
    /// Pixels down.
    pub(super) height: u32,
    /// Seed of the noise.
    pub(super) seed: u64,
    /// Noise instead of the seed's.
    pub(super) noise: Option<Vec<f32>>,
    /// Noise levels.
    pub(super) schedule: Schedule,
    /// The first of the schedule's steps that is run.
    pub(super) first: usize,
    /// How they are gone through.
    pub(super) sampling: Sampling,
    /// Guidance scale.
    pub(super) cfg_scale: f64,
    /// Where it goes.
    pub(super) target: Target,
    /// How it can be made again.
    pub(super) recipe: Recipe,
}

/// An image that an earlier run has made.
#[derive(Debug)]
pub(super) struct Made {
    /// Its place among all images, from 0.
    pub(super) place: usize,
    /// Its file.
    pub(super) path: PathBuf,
    /// How it was made.
    pub(super) recipe: Recipe,
}

/// An image of which nothing is left to the model.
pub(super) enum Prepared {
    /// It is there already.
    Made(Box<Made>),
    /// It is to be made.
    ToMake(Box<ImageJob>),
}

impl Prepared {
    /// Settles what the request leaves to the model and the device, whose number format is `dtype`,
    /// reads the noise, and looks whether the image is there already, if that is wanted.
    ///
    /// # Errors
    /// Whatever is wrong with the request, the tokenizer, the noise file or the model's defaults.
    pub(super) fn new(
        place: usize,
        request: Request,
        config: &GenerateConfig,
        (models, digests): (&Models, &ModelDigests),
        dtype: FloatDType,
        init: Option<&InitImage>,
        texts: &mut Texts,
    ) -> Result<Self, CliError> {
        let (width, height) = match init {
            Some(init) => init.size(request.size),
            None => models.size(request.size)?,
        };
        let grid = TokenGrid::of_image(width as usize, height as usize);
        let steps = request.steps.map_or_else(|| models.default_steps(), Ok)?;
        let kind = &request.sampling.schedule;
        let style = request.sampling.preset.start_style();
        // In ComfyUI's way the whole schedule is the end of a longer one.
        let part = init.filter(|_| style == StartStyle::ComfyUi);
        let part = part.map_or(1.0, |init| init.strength);
        let scheduler = models.scheduler.constants();
        let schedule = Schedule::tail_of_kind(kind, scheduler, steps, grid.tokens(), part)
            .map_err(|error| no_schedule(kind, error, [width, height], steps))?;
        let first = match init.filter(|_| style == StartStyle::Diffusers) {
            Some(init) => first_step(schedule.steps(), init.strength)
                .ok_or_else(|| no_step(init.strength, schedule.steps()))?,
            None => 0,
        };
        let latent_shape = grid.latent_shape(models.vae.config.z_dim);
        let noise = config.noise.as_deref();
        let noise_name = noise.map(|path| {
            let name = path.file_name().unwrap_or_default();
            name.to_string_lossy().into_owned()
        });
        let noise = noise
            .map(|path| noise_file::read(path, latent_shape))
            .transpose()?;
        let recipe = Recipe {
            width,
            height,
            steps,
            sampler: request.sampling.sampler,
            schedule: request.sampling.schedule.clone(),
            preset: request.sampling.preset,
            scheduler: models.scheduler.recorded(kind),
            cfg_scale: match request.negative_prompt {
                Some(_) => request.cfg_scale,
                None => 1.0,
            },
            seed: noise.is_none().then_some(request.seed),
            noise: noise_name,
            init_image: init.map(|init| init.stamp.clone()),
            mask: init.and_then(|init| init.mask_stamp.clone()),
            mask_crop: init.and_then(|init| init.mask_crop),
            strength: init.map(|init| init.strength),
            model: models::name(&models.transformer.weights),
            text_encoder: Some(models::name(&models.text_encoder.weights)),
            vae: Some(models::name(&models.vae.weights)),
            model_digest: Some(digests.transformer.clone()),
            text_encoder_digest: Some(digests.text_encoder.clone()),
            vae_digest: Some(digests.vae.clone()),
            dtype: Some(dtype_str(dtype).to_owned()),
            fp8_compute: config.compute.arithmetic == Arithmetic::Fp8,
            loras: models.used_loras.clone(),
            lightning: models.lightning,
            prompt: request.prompt,
            negative_prompt: request.negative_prompt,
        };
        let target = if request.target.waits_for_digest() {
            request.target.with_digest(&recipe.digest()?)
        } else {
            request.target
        };
        let metadata = Metadata::of(&recipe)?;
        metadata.check_fits(&target.path)?;
        if config.resume
            && let Some(path) = already_made(&target, &recipe)
        {
            return Ok(Self::Made(Box::new(Made {
                place,
                path,
                recipe,
            })));
        }
        let style = request.sampling.preset.prompt_style();
        let mut number_of = |text: &str| texts.number_of(text, style, &models.tokenizer);
        let negative_prompt = recipe.negative_prompt.as_deref();
        Ok(Self::ToMake(Box::new(ImageJob {
            place,
            prompt: number_of(&recipe.prompt)?,
            negative: negative_prompt.map(&mut number_of).transpose()?,
            width,
            height,
            seed: request.seed,
            noise,
            schedule,
            first,
            sampling: request.sampling,
            cfg_scale: request.cfg_scale,
            target,
            recipe,
        })))
    }
}

/// Why nothing is left to run.
fn no_step(strength: f64, steps: usize) -> CliError {
    CliError::Usage(format!(
        "--strength {strength} leaves none of {steps} steps to run"
    ))
}

/// Why there are no noise levels. Levels that meet are the user's only where the user listed them.
fn no_schedule(
    kind: &ScheduleKind,
    error: ScheduleError,
    [width, height]: [u32; 2],
    steps: usize,
) -> CliError {
    let why = match (kind, &error) {
        (_, ScheduleError::PartTooSmall(strength)) => return no_step(*strength, steps),
        (ScheduleKind::Sigmas(_), _) => error.to_string(),
        (_, ScheduleError::NotFalling { sigma, .. }) => format!(
            "at {width}x{height} with {steps} steps its noise levels meet at {sigma}: take fewer \
             steps, a smaller image, or another schedule such as shift=3.1"
        ),
        _ => error.to_string(),
    };
    CliError::Usage(format!("--schedule {kind}: {why}"))
}

/// The file that holds this very image, if there is one.
fn already_made(target: &Target, recipe: &Recipe) -> Option<PathBuf> {
    target
        .existing()
        .into_iter()
        .find(|path| held_by(path, recipe).is_some_and(|file| file.is_whole()))
}

/// A file that holds the image of this recipe, perhaps in part.
pub(super) fn held_by(path: &Path, recipe: &Recipe) -> Option<ImageFile> {
    // Whatever is wrong with a file, it is not this image.
    let file = ImageFile::open(path).ok()?;
    let recorded = file.recipe().ok()??;
    recipe.is_recorded_as(&recorded).then_some(file)
}

impl Prepared {
    /// The image's file and its recipe.
    pub(super) fn file(&self) -> (&Path, &Recipe) {
        match self {
            Self::Made(made) => (&made.path, &made.recipe),
            Self::ToMake(image) => (&image.target.path, &image.recipe),
        }
    }
}

impl ImageJob {
    /// How often the transformer is asked for a prediction.
    pub(super) fn model_calls(&self) -> usize {
        let kind = self.sampling.sampler.kind();
        kind.model_calls(self.schedule.steps() - self.first)
    }

    /// What a step costs compared with those of other images, and the steps.
    pub(super) fn step_costs(&self) -> (f64, usize) {
        let steps = self.schedule.steps() - self.first;
        let passes = self.model_calls() * (1 + usize::from(self.negative.is_some()));
        let work = passes as f64 * self.grid().tokens() as f64;
        (work / steps.max(1) as f64, steps)
    }

    /// The size in tokens.
    pub(super) fn grid(&self) -> TokenGrid {
        TokenGrid::of_image(self.width as usize, self.height as usize)
    }
}
