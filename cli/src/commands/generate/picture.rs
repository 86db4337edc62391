//! One picture of a run, settled: all that is left is to compute it.

use model::init_image::first_step;
use model::latents::TokenGrid;
use model::scheduler::Schedule;

use super::noise_file;
use super::request::Request;
use super::texts::Texts;
use crate::args::GenerateConfig;
use crate::error::CliError;
use crate::input::InitPicture;
use crate::models::Models;
use crate::output::names::Target;
use crate::output::recipe::Recipe;

/// A picture to be computed.
#[derive(Debug)]
pub(super) struct Picture {
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
    /// Guidance scale.
    pub(super) cfg_scale: f64,
    /// Where it goes.
    pub(super) target: Target,
    /// How it can be made again.
    pub(super) recipe: Recipe,
}

impl Picture {
    /// Settles what the request leaves to the model, and reads the noise.
    ///
    /// # Errors
    /// Whatever is wrong with the tokenizer, the noise file or the model's defaults.
    pub(super) fn prepare(
        request: Request,
        config: &GenerateConfig,
        models: &Models,
        init: Option<&InitPicture>,
        texts: &mut Texts,
    ) -> Result<Self, CliError> {
        let (width, height) = match init {
            Some(init) => init.size(request.size),
            None => models.size(request.size)?,
        };
        let grid = TokenGrid::of_image(width as usize, height as usize);
        let steps = request.steps.map_or_else(|| models.default_steps(), Ok)?;
        let schedule = Schedule::new(&models.scheduler, steps, grid.tokens())
            .map_err(|error| CliError::Usage(error.to_string()))?;
        let first = match init {
            Some(init) => first_step(schedule.steps(), init.strength).ok_or_else(|| {
                CliError::Usage(format!(
                    "--strength {} leaves none of {} steps to run",
                    init.strength,
                    schedule.steps()
                ))
            })?,
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
        let mut number_of = |text: &str| texts.number_of(text, &models.tokenizer);
        let negative_prompt = request.negative_prompt.as_deref();
        Ok(Self {
            prompt: number_of(&request.prompt)?,
            negative: negative_prompt.map(&mut number_of).transpose()?,
            width,
            height,
            seed: request.seed,
            schedule,
            first,
            cfg_scale: request.cfg_scale,
            target: request.target,
            recipe: Recipe {
                width,
                height,
                steps,
                cfg_scale: match request.negative_prompt {
                    Some(_) => request.cfg_scale,
                    None => 1.0,
                },
                seed: noise.is_none().then_some(request.seed),
                noise: noise_name,
                init_image: init.map(|init| init.stamp.clone()),
                mask: init.and_then(|init| init.mask_stamp.clone()),
                strength: init.map(|init| init.strength),
                model: models.name(),
                loras: models.used_loras(),
                lightning: models.lightning,
                prompt: request.prompt,
                negative_prompt: request.negative_prompt,
            },
            noise,
        })
    }

    /// The size in tokens.
    pub(super) fn grid(&self) -> TokenGrid {
        TokenGrid::of_image(self.width as usize, self.height as usize)
    }
}
