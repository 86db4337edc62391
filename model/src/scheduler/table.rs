//! Levels that are chosen from a table of a thousand, as in ComfyUI's schedulers: the model's
//! training steps, shifted by a number that does not depend on the image's size.

use statrs::function::beta::inv_beta_reg;

use super::ScheduleError;

/// The model's training steps.
const LEVELS: usize = 1000;

/// Both parameters of the beta distribution.
const BETA: f64 = 0.6;

/// ComfyUI's scheduler "simple": every `1000 / steps`-th level, from the top.
pub(super) fn simple(steps: usize, shift: f64) -> Result<Vec<f32>, ScheduleError> {
    check(steps)?;
    Ok(simple_repeating(steps, shift))
}

/// The same for any number of steps. More steps than there are levels meet some levels twice.
pub(super) fn simple_repeating(steps: usize, shift: f64) -> Vec<f32> {
    let stride = LEVELS as f64 / steps as f64;
    let index = |step: usize| LEVELS - 1 - (step as f64 * stride) as usize;
    (0..steps).map(|step| level(index(step), shift)).collect()
}

/// ComfyUI's scheduler "beta": levels at the quantiles of the beta distribution (Lee et al., "Beta
/// Sampling is All You Need", 2024), close together at both ends. Where rounding gives one level
/// twice running, it is taken once.
pub(super) fn beta(steps: usize, shift: f64) -> Result<Vec<f32>, ScheduleError> {
    check(steps)?;
    Ok(beta_distinct(steps, shift))
}

/// The same for any number of steps; the result has at most as many as there are levels.
pub(super) fn beta_distinct(steps: usize, shift: f64) -> Vec<f32> {
    let index = |step: usize| {
        let share = 1.0 - step as f64 / steps as f64;
        (beta_quantile(share) * (LEVELS - 1) as f64).round_ties_even() as usize
    };
    let mut indices: Vec<usize> = (0..steps).map(index).collect();
    indices.dedup();
    indices.into_iter().map(|i| level(i, shift)).collect()
}

/// The quantile of the beta distribution: the number below which this share of it lies.
pub(super) fn beta_quantile(share: f64) -> f64 {
    // The distribution is symmetrical. Its middle falls between two entries of the table, where
    // the last bit of an approximation would decide.
    if share == 0.5 {
        return 0.5;
    }
    inv_beta_reg(BETA, BETA, share.clamp(0.0, 1.0))
}

/// An entry of the table, counted from 0, the entry with the least noise.
fn level(index: usize, shift: f64) -> f32 {
    let shift = shift as f32;
    let time = (index + 1) as f32 / LEVELS as f32;
    shift * time / (1.0 + (shift - 1.0) * time)
}

fn check(steps: usize) -> Result<(), ScheduleError> {
    match steps {
        0 => Err(ScheduleError::NoSteps),
        1..=LEVELS => Ok(()),
        _ => Err(ScheduleError::TooManySteps {
            steps,
            levels: LEVELS,
        }),
    }
}
