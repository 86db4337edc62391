//! UniPC-2 (Zhao et al., "UniPC: A Unified Predictor-Corrector Framework for Fast Sampling of
//! Diffusion Models", 2023) with `B(h) = e^h - 1` (`bh2`), predicting `x0`, for flow matching.
//!
//! The predictor is DPM-Solver++(2M). When the next step has its prediction, the corrector takes
//! the step before it once more with that prediction as a third support, at no extra call of the
//! model.

use burn::tensor::Tensor;
use burn::tensor::backend::Backend;

use super::multistep::{Prediction, extrapolated, half_log_snr, towards, width};
use super::{Interval, Velocity};

/// The distance by which a first noise level of 1 is moved down, as in the reference: at 1 itself
/// `λ` is infinite.
const NUDGE: f64 = 1e-6;

/// Remembers the last step and the prediction before it.
#[derive(Clone, Debug)]
pub struct UniPc<B: Backend> {
    last: Option<Last<B>>,
}

/// A step that was taken.
#[derive(Clone, Debug)]
struct Last<B: Backend> {
    /// The latents that it started from, corrected.
    latents: Tensor<B, 3>,
    /// The prediction at its start.
    current: Prediction<B>,
    /// The prediction before that.
    earlier: Option<Prediction<B>>,
}

impl<B: Backend> Default for UniPc<B> {
    fn default() -> Self {
        Self { last: None }
    }
}

impl<B: Backend> UniPc<B> {
    pub(super) fn step<E>(
        &mut self,
        latents: Tensor<B, 3>,
        interval: Interval,
        velocity: &mut Velocity<'_, B, E>,
    ) -> Result<Tensor<B, 3>, E> {
        let slope = velocity(latents.clone(), interval.sigma)?;
        let interval = Interval {
            sigma: nudged(interval.sigma),
            ..interval
        };
        let current = Prediction {
            sigma: interval.sigma,
            x0: latents.clone() - slope * interval.sigma,
        };
        let (latents, earlier) = match self.last.take() {
            Some(last) => {
                let corrected = last.corrected(&current);
                (corrected, Some(last.current))
            }
            None => (latents, None),
        };
        let target = extrapolated(&current, earlier.as_ref(), interval);
        self.last = Some(Last {
            latents: latents.clone(),
            current,
            earlier,
        });
        Ok(towards(latents, interval, target))
    }
}

impl<B: Backend> Last<B> {
    /// The latents at which the step should have arrived, now that the prediction there is known.
    fn corrected(&self, arrived: &Prediction<B>) -> Tensor<B, 3> {
        let interval = Interval {
            sigma: self.current.sigma,
            next: arrived.sigma,
        };
        let x0 = self.current.x0.clone();
        let change = arrived.x0.clone() - x0.clone();
        let target = match &self.earlier {
            None => x0 + change * 0.5,
            Some(earlier) => {
                let h = width(interval);
                let before = half_log_snr(earlier.sigma) - half_log_snr(self.current.sigma);
                let [past, future] = weights(h, before / h);
                let slope = (earlier.x0.clone() - x0.clone()) * (past * h / before);
                x0 + slope + change * future
            }
        };
        towards(self.latents.clone(), interval, target)
    }
}

/// The weights of the differences to the supports at `ratio` and at 1, in units of the width `h`
/// of the step: those that make the correction exact for `x0` quadratic in `λ` (equation 9 of the
/// paper, for order 2).
fn weights(h: f64, ratio: f64) -> [f64; 2] {
    let growth = (-h).exp_m1();
    let first = growth / -h - 1.0;
    let second = first / -h - 0.5;
    let [b1, b2] = [first / growth, 2.0 * second / growth];
    // ( 1      1 ) (past  )   (b1)
    // ( ratio  1 ) (future) = (b2)
    let past = (b1 - b2) / (1.0 - ratio);
    [past, b1 - past]
}

fn nudged(sigma: f32) -> f32 {
    let sigma = f64::from(sigma);
    let nudge = if (sigma - 1.0).abs() < NUDGE {
        NUDGE
    } else {
        0.0
    };
    (sigma - nudge) as f32
}
