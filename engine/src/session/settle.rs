//! A request becomes something of which nothing is left to the model or the device.

use std::sync::Arc;

use backends::Arithmetic;
use model::init_image::{StartStyle, first_step};
use model::latents::TokenGrid;
use model::scheduler::{Schedule, ScheduleError, ScheduleKind};

use super::Session;
use super::noise_file;
use crate::error::Error;
use crate::events::Note;
use crate::image::InitImage;
use crate::models;
use crate::plan::dtype_str;
use crate::record::Recipe;
use crate::request::{Request, Sampling};

/// An image that is settled but for the tokens of its texts.
#[derive(Debug)]
pub struct Settled {
    /// Pixels across.
    pub width: u32,
    /// Pixels down.
    pub height: u32,
    /// The seed of the noise.
    pub seed: u64,
    /// Noise instead of the seed's, `[1, channels, height, width]` in latent pixels.
    pub noise: Option<Vec<f32>>,
    /// Noise levels.
    pub schedule: Schedule,
    /// The first of the schedule's steps that is run.
    pub first: usize,
    /// How they are gone through.
    pub sampling: Sampling,
    /// The guidance scale that is used where there is a negative prompt.
    pub cfg_scale: f64,
    /// How the image can be made again.
    pub recipe: Recipe,
    /// The image to start from.
    pub image: Option<Arc<InitImage>>,
}

impl Session {
    /// Settles what a request leaves to the models and the device, and reads its noise. What is
    /// computed in another number format is another image.
    ///
    /// # Errors
    /// Whatever is wrong with the request, the noise file or the model's defaults.
    pub fn settle(&self, request: Request) -> Result<Settled, Error> {
        let models = &self.models;
        let init = request.image.as_deref();
        let mut sampling = request.sampling;
        models.scheduler.settle(&mut sampling, request.asked)?;
        let (width, height) = match init {
            Some(init) => init.size(request.size),
            None => models.size(request.size)?,
        };
        let grid = TokenGrid::of_image(width as usize, height as usize);
        let steps = request.steps.map_or_else(|| models.default_steps(), Ok)?;
        let kind = &sampling.schedule;
        let style = sampling.preset.start_style();
        // In ComfyUI's way the whole schedule is the end of a longer one.
        let part = init.filter(|_| style == StartStyle::ComfyUi);
        let part = part.map_or(1.0, |init| init.strength);
        let scheduler = models.scheduler.constants();
        let schedule = Schedule::tail_of_kind(kind, scheduler, steps, grid.tokens(), part)
            .map_err(|error| no_schedule(kind, error, [width, height], steps))?;
        let first = match init.filter(|_| style == StartStyle::Diffusers) {
            Some(init) => first_step(schedule.steps(), init.strength).ok_or(Error::NoStep {
                strength: init.strength,
                steps: schedule.steps(),
            })?,
            None => 0,
        };
        let noise_name = request.noise.as_deref().map(|path| {
            let name = path.file_name().unwrap_or_default();
            name.to_string_lossy().into_owned()
        });
        let latent_shape = grid.latent_shape(models.vae.config.z_dim);
        let noise = request.noise.as_deref();
        let noise = noise.map(|path| noise_file::read(path, latent_shape));
        let noise = noise.transpose()?;
        let digests = &self.digests;
        let recipe = Recipe {
            width,
            height,
            steps,
            sampler: sampling.sampler,
            schedule: sampling.schedule.clone(),
            preset: sampling.preset,
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
            dtype: Some(dtype_str(self.setting.dtype).to_owned()),
            fp8_compute: self.compute.arithmetic == Arithmetic::Fp8,
            loras: models.used_loras.clone(),
            lightning: models.lightning,
            prompt: request.prompt,
            negative_prompt: request.negative_prompt,
        };
        Ok(Settled {
            width,
            height,
            seed: request.seed,
            noise,
            schedule,
            first,
            sampling,
            cfg_scale: request.cfg_scale,
            recipe,
            image: request.image,
        })
    }
}

/// Says why there are no noise levels. Levels that meet are the user's only where the user listed
/// them.
fn no_schedule(
    kind: &ScheduleKind,
    error: ScheduleError,
    [width, height]: [u32; 2],
    steps: usize,
) -> Error {
    let fault = match (kind, &error) {
        (_, ScheduleError::PartTooSmall(strength)) => {
            return Error::NoStep {
                strength: *strength,
                steps,
            };
        }
        (ScheduleKind::Sigmas(_), _) => error.to_string(),
        (_, ScheduleError::NotFalling { sigma, .. }) => format!(
            "at {width}x{height} with {steps} steps its noise levels meet at {sigma}: take fewer \
             steps, a smaller image, or another schedule such as shift=3.1"
        ),
        _ => error.to_string(),
    };
    Error::NoSchedule {
        schedule: kind.to_string(),
        fault,
    }
}

impl Settled {
    /// The number of predictions that the transformer is asked for.
    pub fn model_calls(&self) -> usize {
        let kind = self.sampling.sampler.kind();
        kind.model_calls(self.steps())
    }

    /// The timesteps of the steps that are run.
    pub(super) fn timesteps(&self) -> Vec<f32> {
        self.schedule.timesteps(self.first)
    }

    /// The number of steps that are run.
    pub fn steps(&self) -> usize {
        self.schedule.steps() - self.first
    }

    /// Tells whether each prediction is two, guided by a negative prompt.
    pub fn guided(&self) -> bool {
        self.recipe.negative_prompt.is_some()
    }

    /// The cost of a step compared with those of other images, and the number of steps.
    pub fn step_costs(&self) -> (f64, usize) {
        let steps = self.steps();
        let passes = self.model_calls() * (1 + usize::from(self.guided()));
        let work = passes as f64 * self.grid().tokens() as f64;
        (work / steps.max(1) as f64, steps)
    }

    /// The size in tokens.
    pub fn grid(&self) -> TokenGrid {
        TokenGrid::of_image(self.width as usize, self.height as usize)
    }

    /// A note on the noise levels, if the user should know something of them.
    pub fn note(&self) -> Option<Note> {
        let (steps, asked) = (self.schedule.steps(), self.recipe.steps);
        // Of levels that are listed only a part may be run.
        let fewer = steps < asked && self.sampling.schedule.listed_steps().is_none();
        fewer.then(|| Note::FewLevels {
            schedule: self.sampling.schedule.to_string(),
            levels: steps,
            steps: asked,
        })
    }
}
