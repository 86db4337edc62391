//! Noise becomes latents.

use std::error::Error;

use backends::ModelBackend;
use burn::tensor::backend::Backend;
use burn::tensor::{FloatDType, Tensor};

use super::{Branch, Observer, PipelineError};
use crate::block_source::BlockSource;
use crate::guidance::{Guidance, GuidanceRule};
use crate::latents::{TokenGrid, pack};
use crate::sampler::{Sampler, SamplerKind};
use crate::scheduler::{Schedule, timestep};
use crate::transformer::{Modulations, Prompts, RopeCentring, Transformer, TransformerBlock};

/// A function that is called after every step with the latents, f32 `[1, image tokens, features]`,
/// and their noise level. The latents that it returns go into the next step, or are the result.
pub type AfterStep<'a, B> = dyn Fn(Tensor<B, 3>, f32) -> Tensor<B, 3> + Sync + 'a;

/// Changes the transformer's predictions, so that a part of an image stays.
///
/// All tensors are f32 `[1, image tokens, features]`, and `sigma` is the noise level of the latents.
pub trait Steering<B: Backend>: Sync {
    /// The latents that the transformer is shown instead of `latents`.
    fn shown(&self, latents: Tensor<B, 3>, sigma: f32) -> Tensor<B, 3>;

    /// The velocity to follow from `latents`, where `velocity` is what was predicted for `shown`.
    fn velocity(
        &self,
        latents: Tensor<B, 3>,
        shown: Tensor<B, 3>,
        velocity: Tensor<B, 3>,
        sigma: f32,
    ) -> Tensor<B, 3>;
}

/// The input of [`denoise`].
#[derive(Clone)]
pub struct Denoising<'a, B: Backend> {
    /// The prompt's embeddings, f32 `[1, tokens, channels]`.
    pub prompt_embeds: Tensor<B, 3>,
    /// Guidance by a negative prompt; `None` for a single prediction a step.
    pub guidance: Option<Guidance<B>>,
    /// The first latents, f32 `[1, channels, height, width]`, at the noise level
    /// `schedule.sigmas()[start]`: noise alone where that is 1.
    pub latents: Tensor<B, 4>,
    /// The first of the schedule's steps to run.
    pub start: usize,
    /// A function that may change the latents between steps.
    pub after_step: Option<&'a AfterStep<'a, B>>,
    /// A rule that may change each prediction.
    pub steering: Option<&'a dyn Steering<B>>,
    /// The size of the image in tokens.
    pub grid: TokenGrid,
    /// The place of the image's middle for the rotary positions.
    pub centring: RopeCentring,
    /// The noise levels.
    pub schedule: &'a Schedule,
    /// The solver that goes through the noise levels.
    pub sampler: SamplerKind,
    /// The dtype in which the transformer's blocks compute.
    pub dtype: FloatDType,
}

impl<'a, B: Backend> Denoising<'a, B> {
    /// All steps of a schedule from noise, with diffusers' defaults: Euler's method and f32, but
    /// without guidance.
    pub fn new(
        prompt_embeds: Tensor<B, 3>,
        noise: Tensor<B, 4>,
        grid: TokenGrid,
        schedule: &'a Schedule,
    ) -> Self {
        Self {
            prompt_embeds,
            guidance: None,
            latents: noise,
            start: 0,
            after_step: None,
            steering: None,
            grid,
            centring: RopeCentring::default(),
            schedule,
            sampler: SamplerKind::default(),
            dtype: FloatDType::F32,
        }
    }
}

/// Turns noise into latents, f32 `[1, image tokens, features]`, by a sampler's steps along the
/// transformer's predictions.
///
/// * `blocks`: lends the transformer's blocks, in one pass for each prediction or guided pair of
///   them. Of the transformer's own blocks none is used.
/// * `modulations`: has the [timesteps](Schedule::timesteps) of the schedule from
///   [`Denoising::start`] on.
///
/// # Errors
/// The first step gives numbers that are not finite; the observer cancelled;
/// [`PipelineError::Blocks`]; [`PipelineError::TimestepMissing`].
///
/// # Panics
/// The device fails; see [the module](super#panics).
pub fn denoise<B, S>(
    transformer: &Transformer<B>,
    blocks: &mut S,
    modulations: &Modulations<B>,
    work: Denoising<B>,
    observer: &mut dyn Observer<B>,
) -> Result<Tensor<B, 3>, PipelineError>
where
    B: ModelBackend,
    S: BlockSource<TransformerBlock<B>>,
    S::Error: Error + Send + Sync + 'static,
{
    let mut predictor = Predictor::new(transformer, blocks, modulations, &work);
    let mut sampler = Sampler::new(work.sampler);
    let mut latents = pack(work.latents);
    for (step, index) in (work.start..work.schedule.steps()).enumerate() {
        let interval = work.schedule.interval(index);
        let mut first = true;
        latents = sampler.step(latents, interval, &mut |latents, sigma| {
            let seen = std::mem::take(&mut first).then_some(step);
            let Some(steering) = work.steering else {
                return predictor.velocity(latents, sigma, seen, observer);
            };
            let shown = steering.shown(latents.clone(), sigma);
            let velocity = predictor.velocity(shown.clone(), sigma, seen, observer)?;
            Ok(steering.velocity(latents, shown, velocity, sigma))
        })?;
        // Broken weights show in the first step; a look at later ones would stall the device.
        if step == 0 && !all_finite(&latents) {
            return Err(PipelineError::NotFinite { step: step + 1 });
        }
        if let Some(change) = work.after_step {
            latents = change(latents, interval.next);
        }
        observer.latents(step, &latents);
        if observer.cancelled() {
            return Err(PipelineError::Cancelled);
        }
    }
    Ok(latents)
}

/// The transformer with everything that stays the same from step to step.
struct Predictor<'a, B: Backend, S> {
    transformer: &'a Transformer<B>,
    blocks: &'a mut S,
    modulations: &'a Modulations<B>,
    prompts: Prompts<B>,
    /// The scale and the rule, if the second of the prompts guides.
    guidance: Option<(f64, GuidanceRule)>,
    dtype: FloatDType,
}

impl<'a, B, S> Predictor<'a, B, S>
where
    B: ModelBackend,
    S: BlockSource<TransformerBlock<B>>,
    S::Error: Error + Send + Sync + 'static,
{
    fn new(
        transformer: &'a Transformer<B>,
        blocks: &'a mut S,
        modulations: &'a Modulations<B>,
        work: &Denoising<B>,
    ) -> Self {
        let negative = work.guidance.as_ref().map(|guidance| &guidance.embeds);
        let embeds = std::iter::once(&work.prompt_embeds).chain(negative);
        let prompts = transformer.prompts(embeds.cloned().collect(), work.grid, work.centring);
        let guidance = work.guidance.as_ref();
        Self {
            transformer,
            blocks,
            modulations,
            prompts,
            guidance: guidance.map(|guidance| (guidance.scale, guidance.rule)),
            dtype: work.dtype,
        }
    }

    /// The guided velocity of latents at a noise level. The observer sees its predictions if `seen`
    /// numbers their step.
    fn velocity(
        &mut self,
        latents: Tensor<B, 3>,
        sigma: f32,
        seen: Option<usize>,
        observer: &mut dyn Observer<B>,
    ) -> Result<Tensor<B, 3>, PipelineError> {
        let start = seen
            .filter(|&step| observer.estimates(step))
            .map(|step| (step, latents.clone()));
        let cancelled = || observer.cancelled();
        let timestep = timestep(sigma);
        let modulation = self.modulations.find(timestep);
        let modulation = modulation.ok_or(PipelineError::TimestepMissing(timestep))?;
        let predictions = self
            .transformer
            .forward_through(
                self.blocks,
                latents,
                &self.prompts,
                modulation,
                self.dtype,
                &cancelled,
            )
            .map_err(PipelineError::blocks)?
            .ok_or(PipelineError::Cancelled)?;
        let mut prediction_of = |branch: Branch| {
            let prediction = predictions.clone().narrow(0, branch as usize, 1);
            if let Some(step) = seen {
                observer.prediction(step, branch, &prediction);
            }
            prediction
        };
        let cond = prediction_of(Branch::Conditional);
        let velocity = match self.guidance {
            Some((scale, rule)) => rule.guide(cond, prediction_of(Branch::Unconditional), scale),
            None => cond,
        };
        if let Some((step, start)) = start {
            observer.estimate(step, &(start - velocity.clone() * sigma));
        }
        Ok(velocity)
    }
}

/// Returns whether no element is NaN or infinite.
fn all_finite<B: Backend>(latents: &Tensor<B, 3>) -> bool {
    // Latents are a megabyte at most, so the host looks at them itself.
    let values = latents.clone().into_data();
    values.iter::<f32>().all(f32::is_finite)
}
