//! What is asked for, picture by picture, before any model file is opened.

use crate::args::{GenerateConfig, ImageSize, Sampling};
use crate::output::names::Target;

/// One picture as it is asked for.
#[derive(Debug, Clone)]
pub(super) struct Request {
    /// The prompt.
    pub(super) prompt: String,
    /// The negative prompt; none without guidance.
    pub(super) negative_prompt: Option<String>,
    /// Sides; the model's where there is none.
    pub(super) size: ImageSize,
    /// Denoising steps; the model's where there are none.
    pub(super) steps: Option<usize>,
    /// How noise becomes the picture.
    pub(super) sampling: Sampling,
    /// Guidance scale.
    pub(super) cfg_scale: f64,
    /// Seed of the noise.
    pub(super) seed: u64,
    /// Where it goes.
    pub(super) target: Target,
}

impl Request {
    /// All pictures that the flags ask for; `seed` is the first one's.
    pub(super) fn all(config: &GenerateConfig, seed: u64) -> Vec<Self> {
        let targets = config.output.targets(seed, config.count);
        let request = |(index, target)| Self {
            prompt: config.prompt.clone(),
            negative_prompt: config.negative_prompt.clone(),
            size: config.size,
            steps: config.steps,
            sampling: config.sampling.clone(),
            cfg_scale: config.cfg_scale,
            seed: seed.wrapping_add(index as u64),
            target,
        };
        targets.into_iter().enumerate().map(request).collect()
    }
}
