//! One picture of a run, settled: all that is left is to compute it.

use model::latents::TokenGrid;
use model::scheduler::Schedule;

use super::noise_file;
use super::request::Request;
use super::texts::Texts;
use crate::args::{GenerateConfig, Sampling};
use crate::error::CliError;
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
    /// How they are gone through.
    pub(super) sampling: Sampling,
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
        texts: &mut Texts,
    ) -> Result<Self, CliError> {
        let (width, height) = models.size(request.size)?;
        let grid = TokenGrid::of_image(width as usize, height as usize);
        let steps = request.steps.map_or_else(|| models.default_steps(), Ok)?;
        let kind = &request.sampling.schedule;
        let schedule = Schedule::of_kind(kind, &models.scheduler, steps, grid.tokens())
            .map_err(|error| CliError::Usage(format!("--schedule {kind}: {error}")))?;
        let latent_shape = grid.latent_shape(models.vae.config.z_dim);
        let noise = config.noise.as_deref();
        let noise_name = noise.map(|path| {
            let name = path.file_name().unwrap_or_default();
            name.to_string_lossy().into_owned()
        });
        let noise = noise
            .map(|path| noise_file::read(path, latent_shape))
            .transpose()?;
        let style = request.sampling.preset.prompt_style();
        let mut number_of = |text: &str| texts.number_of(text, style, &models.tokenizer);
        let negative_prompt = request.negative_prompt.as_deref();
        Ok(Self {
            prompt: number_of(&request.prompt)?,
            negative: negative_prompt.map(&mut number_of).transpose()?,
            width,
            height,
            seed: request.seed,
            schedule,
            sampling: request.sampling.clone(),
            cfg_scale: request.cfg_scale,
            target: request.target,
            recipe: Recipe {
                width,
                height,
                steps,
                sampling: request.sampling,
                cfg_scale: match request.negative_prompt {
                    Some(_) => request.cfg_scale,
                    None => 1.0,
                },
                seed: noise.is_none().then_some(request.seed),
                noise: noise_name,
                model: models.name(),
                prompt: request.prompt,
                negative_prompt: request.negative_prompt,
            },
            noise,
        })
    }

    /// How often the transformer is asked for a prediction.
    pub(super) fn model_calls(&self) -> usize {
        let kind = self.sampling.sampler.kind();
        kind.model_calls(self.schedule.steps())
    }

    /// The size in tokens.
    pub(super) fn grid(&self) -> TokenGrid {
        TokenGrid::of_image(self.width as usize, self.height as usize)
    }
}
