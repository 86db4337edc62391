//! Classifier-free guidance (Ho & Salimans, 2022) as Qwen-Image does it: the guided prediction
//! keeps the length of the conditional one, token by token.

use burn::tensor::Tensor;
use burn::tensor::backend::Backend;

/// `v = comb * ‖cond‖ / ‖comb‖` with `comb = uncond + scale (cond - uncond)`; norms are over the
/// features of each token.
///
/// * `cond`, `uncond`: f32 `[batch, tokens, features]`.
pub fn guide<B: Backend>(cond: Tensor<B, 3>, uncond: Tensor<B, 3>, scale: f64) -> Tensor<B, 3> {
    let combined = uncond.clone() + (cond.clone() - uncond) * scale;
    let length = |x: Tensor<B, 3>| x.square().sum_dim(2).sqrt();
    let ratio = length(cond) / length(combined.clone());
    combined * ratio
}
