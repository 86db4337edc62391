//! Levels at equal distances that are shifted towards noise (Esser et al., "Scaling Rectified Flow
//! Transformers", 2024, section 5.3.2). The shift is a given number, or grows with the image's size
//! as Qwen-Image's scheduler config has it; then the levels are stretched to end at
//! `shift_terminal`.

use super::ScheduleError;
use super::table::beta_quantile;
use crate::config::{SchedulerConfig, TimeShift};

/// The levels of a scheduler config, without the 0 at the end.
pub(super) fn sigmas(
    config: &SchedulerConfig,
    steps: usize,
    image_tokens: usize,
) -> Result<Vec<f32>, ScheduleError> {
    if config.shift_terminal.is_some() && steps < 2 {
        return Err(ScheduleError::TooFewSteps(steps));
    }
    let mut sigmas = shifted(steps, shift_factor(config, image_tokens))?;
    if let (Some(terminal), Some(&last)) = (config.shift_terminal, sigmas.last()) {
        let stretch = (1.0 - last) / (1.0 - terminal as f32);
        for sigma in &mut sigmas {
            *sigma = 1.0 - (1.0 - *sigma) / stretch;
        }
    }
    Ok(sigmas)
}

/// `linspace(1, 1 / steps, steps)`, shifted by the factor `a`: `a / (a + 1 / sigma - 1)`.
pub(super) fn shifted(steps: usize, factor: f32) -> Result<Vec<f32>, ScheduleError> {
    if steps == 0 {
        return Err(ScheduleError::NoSteps);
    }
    let shifted = linspace(1.0, 1.0 / steps as f64, steps).map(|sigma| {
        let sigma = sigma as f32;
        factor / (factor + (1.0 / sigma - 1.0))
    });
    Ok(shifted.collect())
}

/// Places the levels between the first and the last of them at the quantiles of the beta
/// distribution (Lee et al., "Beta Sampling is All You Need", 2024), as diffusers'
/// `use_beta_sigmas` does it.
pub(super) fn beta_between_ends(sigmas: &[f32]) -> Vec<f32> {
    between_ends(sigmas, |first, last, share| {
        last + beta_quantile(1.0 - share) * (first - last)
    })
}

/// Places the levels between the first and the last of them at equal distances of their seventh
/// roots (Karras et al., "Elucidating the Design Space of Diffusion-Based Generative
/// Models", 2022, equation 5), as diffusers' `use_karras_sigmas` does it.
pub(super) fn karras_between_ends(sigmas: &[f32]) -> Vec<f32> {
    const RHO: f64 = 7.0;
    between_ends(sigmas, |first, last, share| {
        let (first, last) = (first.powf(1.0 / RHO), last.powf(1.0 / RHO));
        (first + share * (last - first)).powf(RHO)
    })
}

/// Places the levels between the first and the last of them at equal distances of their
/// logarithms, as diffusers' `use_exponential_sigmas` does it.
pub(super) fn exponential_between_ends(sigmas: &[f32]) -> Vec<f32> {
    between_ends(sigmas, |first, last, share| {
        (first.ln() + share * (last.ln() - first.ln())).exp()
    })
}

/// Replaces the levels by `level(first, last, share)` at equal shares, from 0 to 1, of the way. The
/// ends stay exactly as they are, without the rounding of a power and its inverse.
fn between_ends(sigmas: &[f32], level: impl Fn(f64, f64, f64) -> f64) -> Vec<f32> {
    let (Some(&first), Some(&last)) = (sigmas.first(), sigmas.last()) else {
        return Vec::new();
    };
    let range = last.min(first)..=first.max(last);
    let (first, last) = (f64::from(first), f64::from(last));
    linspace(0.0, 1.0, sigmas.len())
        .map(|share| (level(first, last, share) as f32).clamp(*range.start(), *range.end()))
        .collect()
}

/// `count` numbers from `first` to `last` at equal distances; the first alone if there is one.
fn linspace(first: f64, last: f64, count: usize) -> impl Iterator<Item = f64> {
    let interval = if count > 1 {
        (last - first) / (count - 1) as f64
    } else {
        0.0
    };
    (0..count).map(move |index| first + interval * index as f64)
}

/// The factor of the shift: a number that grows evenly with the image's tokens, or its exponential.
fn shift_factor(config: &SchedulerConfig, image_tokens: usize) -> f32 {
    if !config.use_dynamic_shifting {
        return config.shift as f32;
    }
    let slope = (config.max_shift - config.base_shift)
        / (config.max_image_seq_len - config.base_image_seq_len);
    let mu = image_tokens as f64 * slope + config.base_shift - slope * config.base_image_seq_len;
    match config.time_shift_type {
        TimeShift::Exponential => mu.exp() as f32,
        TimeShift::Linear => mu as f32,
    }
}
