//! Classifier-free guidance (Ho & Salimans, 2022).

use burn::tensor::Tensor;
use burn::tensor::backend::Backend;

/// Guidance by a negative prompt.
#[derive(Clone, Debug)]
pub struct Guidance<B: Backend> {
    /// The negative prompt's embeddings, f32 `[1, tokens, channels]`.
    pub embeds: Tensor<B, 3>,
    /// The distance to go from the negative prompt's prediction towards the prompt's; 1 arrives
    /// there.
    pub scale: f64,
    /// The rule by which the two predictions are combined.
    pub rule: GuidanceRule,
}

/// The rules that make one prediction of two. Both start from
/// `comb = uncond + scale (cond - uncond)`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum GuidanceRule {
    /// `comb * ‖cond‖ / ‖comb‖`, as diffusers' `QwenImagePipeline` does it: the guided prediction
    /// keeps the length of the conditional one, token by token.
    #[default]
    Renormalised,
    /// `comb`, as ComfyUI's sampler nodes do it.
    Plain,
}

impl GuidanceRule {
    /// The guided prediction. Lengths are over the features of each token.
    ///
    /// * `cond`, `uncond`: f32 `[batch, tokens, features]`.
    pub fn guide<B: Backend>(
        self,
        cond: Tensor<B, 3>,
        uncond: Tensor<B, 3>,
        scale: f64,
    ) -> Tensor<B, 3> {
        let combined = uncond.clone() + (cond.clone() - uncond) * scale;
        match self {
            Self::Plain => combined,
            Self::Renormalised => {
                let length = |x: Tensor<B, 3>| x.square().sum_dim(2).sqrt();
                let ratio = length(cond) / length(combined.clone());
                combined * ratio
            }
        }
    }
}
