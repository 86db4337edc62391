//! One image as it is asked for.

use std::path::PathBuf;
use std::sync::Arc;

use model::family::QWEN_IMAGE;

use super::{Asked, ImageSize, Sampling};
use crate::image::InitImage;

/// One image as it is asked for, before the models have settled what it leaves open.
#[derive(Debug, Clone)]
pub struct Request {
    /// The prompt: what the image shows.
    pub prompt: String,
    /// The negative prompt: what it does not show; none without guidance.
    pub negative_prompt: Option<String>,
    /// The sides; the model's where there are none.
    pub size: ImageSize,
    /// Denoising steps; the model's where there are none.
    pub steps: Option<usize>,
    /// How noise becomes the image.
    pub sampling: Sampling,
    /// Which parts of that are not left to the models folder.
    pub asked: Asked,
    /// The guidance scale, which counts where there is a negative prompt.
    pub cfg_scale: f64,
    /// The seed of the noise.
    pub seed: u64,
    /// A file with the noise to start from instead of the seed's.
    pub noise: Option<PathBuf>,
    /// An image to start from. Requests that share it encode it once.
    pub image: Option<Arc<InitImage>>,
}

impl Request {
    /// Asks for an image with the model's defaults.
    pub fn new(prompt: impl Into<String>, seed: u64) -> Self {
        Self {
            prompt: prompt.into(),
            negative_prompt: Some(QWEN_IMAGE.negative_prompt.to_owned()),
            size: ImageSize::default(),
            steps: None,
            sampling: Sampling::default(),
            asked: Asked::default(),
            cfg_scale: QWEN_IMAGE.cfg_scale,
            seed,
            noise: None,
            image: None,
        }
    }
}
