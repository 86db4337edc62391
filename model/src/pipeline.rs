//! The phases of making an image, as plain functions.
//!
//! Each phase needs one model, so that a caller can hold one at a time: encode every prompt with
//! the text encoder and drop it; denoise with the transformer and drop it; decode with the VAE.
//!
//! 1. [`encode_prompt`] for every prompt and negative prompt;
//! 2. [`noise_of_seed`], a [`Schedule`] for the image's size, and [`denoise`] with a
//!    [`Denoising`] that holds them;
//! 3. [`decode`].
//!
//! An [`Observer`] sees the results on the way and can end a phase. The caller provides the
//! models: `cli/examples/generate.rs` loads them from files, on any backend.
//!
//! # Panics
//! Burn's operations return no errors. If a device fails (its memory runs out, a kernel cannot be
//! compiled, its driver reports an error), the operation that notices it panics, and the phase with
//! it. On a GPU, which computes while the host goes on, that may be a later operation than the one
//! that failed. CubeCL works for a GPU on threads of its own, and a panic there may not reach the
//! caller at all: the phase then returns numbers that mean nothing. So a program that computes on a
//! GPU should note panics of all threads (`std::panic::set_hook`) and look at them before it uses a
//! result. After such a panic nothing that the device holds can be trusted.

use backends::ModelBackend;
use burn::tensor::backend::Backend;
use burn::tensor::{DType, FloatDType, Tensor, TensorData};

use crate::guidance::{Guidance, GuidanceRule};
use crate::latents::{TokenGrid, pack, unpack};
use crate::noise::NoiseGenerator;
use crate::sampler::{Sampler, SamplerKind};
use crate::scheduler::{Schedule, timestep};
use crate::text_encoder::TextEncoder;
use crate::tokenizer::PromptTokens;
use crate::transformer::{LEVELS_AT_ONCE, Level, Levels, Prompts, RopeCentring, Transformer};
use crate::vae::{Posterior, Tiling, VaeDecoder, VaeEncoder};

/// Why a phase has no result.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PipelineError {
    /// The observer asked the phase to stop.
    #[error("interrupted")]
    Cancelled,
    /// The numbers left the range of their dtype; the image would be black.
    #[error("the transformer gave numbers that are not finite at step {step}")]
    NotFinite {
        /// The step, counted from 1.
        step: usize,
    },
    /// A token id has no row in the embedding.
    #[error(
        "token id {id} has no row in the text encoder's embedding of {rows}: the tokenizer belongs to another model"
    )]
    TokenOutOfRange {
        /// The id.
        id: u32,
        /// Rows of the embedding.
        rows: usize,
    },
}

/// The two predictions of guidance, in the order in which they are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Branch {
    /// The prediction with the prompt.
    Conditional,
    /// The prediction with the negative prompt.
    Unconditional,
}

/// Follows a phase and may end it.
pub trait Observer<B: Backend> {
    /// Receives the transformer's first prediction of a step, f32 `[1, image tokens, features]`.
    /// Only the steps that are run are counted, from 0.
    fn prediction(&mut self, _step: usize, _branch: Branch, _prediction: &Tensor<B, 3>) {}

    /// Receives the latents, f32 `[1, image tokens, features]`, after a step, counted likewise.
    fn latents(&mut self, _step: usize, _latents: &Tensor<B, 3>) {}

    /// Returns whether [`estimate`](Self::estimate) is wanted for a step, counted likewise.
    fn estimates(&self, _step: usize) -> bool {
        false
    }

    /// Receives the latents of the image that a step's first prediction points to, `x - σ v` with
    /// the guided velocity `v`: f32 `[1, image tokens, features]`.
    fn estimate(&mut self, _step: usize, _latents: &Tensor<B, 3>) {}

    /// Returns whether the phase is to end as soon as possible.
    fn cancelled(&self) -> bool {
        false
    }
}

/// An observer that does nothing.
impl<B: Backend> Observer<B> for () {}

/// Encodes a prompt to its embeddings: f32 `[1, tokens, channels]`, without the template's prefix
/// and the tokens that the prompt's style cuts.
///
/// # Errors
/// A token has no row in the embedding, or the observer cancelled.
///
/// # Panics
/// The device fails; see [the module](self#panics).
pub fn encode_prompt<B: ModelBackend>(
    encoder: &TextEncoder<B>,
    tokens: &PromptTokens,
    dtype: FloatDType,
    device: &B::Device,
    observer: &dyn Observer<B>,
) -> Result<Tensor<B, 3>, PipelineError> {
    let rows = encoder.embed_tokens.weight.shape()[0];
    if let Some(&id) = tokens.ids.iter().find(|&&id| id as usize >= rows) {
        return Err(PipelineError::TokenOutOfRange { id, rows });
    }
    let hidden = encoder
        .forward(&tokens.ids, dtype, device, &|| observer.cancelled())
        .ok_or(PipelineError::Cancelled)?;
    Ok(hidden
        .narrow(1, tokens.prefix, tokens.kept)
        .cast(FloatDType::F32))
}

/// Draws the noise of a seed in the VAE's layout: f32 `[1, channels, height, width]` for an image of
/// `grid` tokens, equal to diffusers' and ComfyUI's on a CPU generator.
pub fn noise_of_seed<B: Backend>(
    seed: u64,
    channels: usize,
    grid: TokenGrid,
    device: &B::Device,
) -> Tensor<B, 4> {
    let shape = grid.latent_shape(channels);
    let values = NoiseGenerator::new(seed).draw(shape.iter().product());
    Tensor::from_data(TensorData::new(values, shape), (device, DType::F32))
}

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
/// # Errors
/// The first step gives numbers that are not finite, or the observer cancelled.
///
/// # Panics
/// The device fails; see [the module](self#panics).
pub fn denoise<B: ModelBackend>(
    transformer: &Transformer<B>,
    work: Denoising<B>,
    observer: &mut dyn Observer<B>,
) -> Result<Tensor<B, 3>, PipelineError> {
    let mut predictor = Predictor::new(transformer, &work);
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
struct Predictor<'a, B: Backend> {
    transformer: &'a Transformer<B>,
    prompts: Prompts<B>,
    /// The scale and the rule, if the second of the prompts guides.
    guidance: Option<(f64, GuidanceRule)>,
    levels: LevelsAhead<'a, B>,
    dtype: FloatDType,
}

/// The modulations at the noise levels of a schedule.
struct LevelsAhead<'a, B: Backend> {
    schedule: &'a Schedule,
    dtype: FloatDType,
    /// The levels that were computed when one was last missing.
    found: Option<Levels<B>>,
}

impl<B: ModelBackend> LevelsAhead<'_, B> {
    /// A level, computed together with the schedule's next ones; `None` if cancelled.
    fn level(
        &mut self,
        transformer: &Transformer<B>,
        sigma: f32,
        device: &B::Device,
        cancelled: &dyn Fn() -> bool,
    ) -> Option<Level<'_, B>> {
        let wanted = timestep(sigma);
        let found = self.found.take();
        let found = found.filter(|levels| levels.find(wanted).is_some());
        let levels = found.or_else(|| {
            let later = self.schedule.sigmas().iter().copied();
            let later = later.filter(|&later| 0.0 < later && later < sigma);
            let sigmas = std::iter::once(sigma).chain(later).take(LEVELS_AT_ONCE);
            let timesteps: Vec<f32> = sigmas.map(timestep).collect();
            transformer.levels(&timesteps, self.dtype, device, cancelled)
        })?;
        self.found.insert(levels).find(wanted)
    }
}

impl<'a, B: ModelBackend> Predictor<'a, B> {
    fn new(transformer: &'a Transformer<B>, work: &Denoising<'a, B>) -> Self {
        let negative = work.guidance.as_ref().map(|guidance| &guidance.embeds);
        let embeds = std::iter::once(&work.prompt_embeds).chain(negative);
        let prompts = transformer.prompts(embeds.cloned().collect(), work.grid, work.centring);
        let guidance = work.guidance.as_ref();
        Self {
            transformer,
            prompts,
            guidance: guidance.map(|guidance| (guidance.scale, guidance.rule)),
            levels: LevelsAhead {
                schedule: work.schedule,
                dtype: work.dtype,
                found: None,
            },
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
        let (transformer, device) = (self.transformer, latents.device());
        let level = self.levels.level(transformer, sigma, &device, &cancelled);
        let predict =
            |level| transformer.forward(latents, &self.prompts, level, self.dtype, &cancelled);
        let predictions = level.and_then(predict).ok_or(PipelineError::Cancelled)?;
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

/// Encodes pixels, f32 `[1, 3, height, width]` in `[-1, 1]`, both sides multiples of 16, to the
/// posterior over their latents. The tiling decides how much memory that takes, and changes nothing
/// else.
///
/// # Errors
/// The observer cancelled.
///
/// # Panics
/// The device fails; see [the module](self#panics).
pub fn encode_image<B: ModelBackend>(
    vae: &VaeEncoder<B>,
    pixels: Tensor<B, 4>,
    tiling: Tiling,
    observer: &dyn Observer<B>,
) -> Result<Posterior<B>, PipelineError> {
    vae.encode(pixels, tiling, &|| observer.cancelled())
        .ok_or(PipelineError::Cancelled)
}

/// Decodes latents, f32 `[1, image tokens, features]`, to pixels, f32 `[1, 3, height, width]` in
/// `[-1, 1]`. The tiling decides how much memory that takes, and changes nothing else.
///
/// # Errors
/// The observer cancelled.
///
/// # Panics
/// The device fails; see [the module](self#panics).
pub fn decode<B: ModelBackend>(
    vae: &VaeDecoder<B>,
    latents: Tensor<B, 3>,
    grid: TokenGrid,
    tiling: Tiling,
    observer: &dyn Observer<B>,
) -> Result<Tensor<B, 4>, PipelineError> {
    vae.decode(unpack(latents, grid), tiling, &|| observer.cancelled())
        .ok_or(PipelineError::Cancelled)
}

/// Returns whether no element is NaN or infinite.
fn all_finite<B: Backend>(latents: &Tensor<B, 3>) -> bool {
    // Latents are a megabyte at most, so the host looks at them itself.
    let values = latents.clone().into_data();
    values.iter::<f32>().all(f32::is_finite)
}
