//! The part that the multistep solvers share. Both follow the image that the velocity points to,
//! `x0`, which changes slowly, through the half log-SNR `λ`.

use burn::tensor::Tensor;
use burn::tensor::backend::Backend;

use super::Interval;

/// The `x0` that was predicted at a noise level.
#[derive(Clone, Debug)]
pub(super) struct Prediction<B: Backend> {
    /// The noise level.
    pub(super) sigma: f32,
    /// f32 `[1, tokens, features]`.
    pub(super) x0: Tensor<B, 3>,
}

/// `λ = ln((1 - σ) / σ)`, infinite at both ends.
pub(super) fn half_log_snr(sigma: f32) -> f64 {
    let sigma = f64::from(sigma);
    (1.0 - sigma).ln() - sigma.ln()
}

/// The distance that `λ` goes in an interval.
pub(super) fn width(interval: Interval) -> f64 {
    half_log_snr(interval.next) - half_log_snr(interval.sigma)
}

/// `x` moved to the next noise level towards `x0`: `(next / σ) x + (1 - next / σ) x0`, the exact
/// solution for an `x0` that stays the same.
pub(super) fn towards<B: Backend>(
    x: Tensor<B, 3>,
    interval: Interval,
    x0: Tensor<B, 3>,
) -> Tensor<B, 3> {
    let ratio = f64::from(interval.next) / f64::from(interval.sigma);
    x * ratio + x0 * (1.0 - ratio)
}

/// The image to move [`towards`] in an interval, of second order: the prediction at its start,
/// extrapolated over half its width by the difference from the prediction before. Without one
/// before, and down to no noise, it is the prediction itself.
pub(super) fn extrapolated<B: Backend>(
    current: &Prediction<B>,
    earlier: Option<&Prediction<B>>,
    interval: Interval,
) -> Tensor<B, 3> {
    let x0 = current.x0.clone();
    match earlier {
        Some(earlier) if interval.next > 0.0 => {
            let before = half_log_snr(current.sigma) - half_log_snr(earlier.sigma);
            let slope = (x0.clone() - earlier.x0.clone()) * (0.5 * width(interval) / before);
            x0 + slope
        }
        _ => x0,
    }
}
