//! The flow-matching Euler schedule with a resolution-dependent shift (Esser et al., "Scaling
//! Rectified Flow Transformers", 2024, section 5.3.2), stretched to end at `shift_terminal`.

use crate::config::SchedulerConfig;
use crate::sampler::Interval;

/// Noise levels of a denoising run, from 1 (noise) to 0 (image).
#[derive(Clone, Debug, PartialEq)]
pub struct Schedule {
    sigmas: Vec<f32>,
}

/// The schedule cannot be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScheduleError {
    /// One step leaves nothing to stretch, and zero none to take.
    #[error(
        "{0} denoising step(s): at least 2 are needed, since the schedule is stretched between its first and last noise level"
    )]
    TooFewSteps(usize),
}

impl Schedule {
    /// `steps` Euler steps for an image of `image_tokens` tokens.
    ///
    /// # Errors
    /// Fewer than two steps with a terminal stretch, or none at all.
    pub fn new(
        config: &SchedulerConfig,
        steps: usize,
        image_tokens: usize,
    ) -> Result<Self, ScheduleError> {
        let fewest = if config.shift_terminal.is_some() {
            2
        } else {
            1
        };
        if steps < fewest {
            return Err(ScheduleError::TooFewSteps(steps));
        }
        let factor = shift_factor(config, image_tokens);
        let mut sigmas: Vec<f32> = (0..steps)
            .map(|step| {
                // linspace(1, 1 / steps, steps), rounded to f32 at its end.
                let last = 1.0 / steps as f64;
                let interval = if steps > 1 {
                    (last - 1.0) / (steps - 1) as f64
                } else {
                    0.0
                };
                let sigma = (1.0 + interval * step as f64) as f32;
                factor / (factor + (1.0 / sigma - 1.0))
            })
            .collect();
        if let (Some(terminal), Some(&last)) = (config.shift_terminal, sigmas.last()) {
            let stretch = (1.0 - last) / (1.0 - terminal as f32);
            for sigma in &mut sigmas {
                *sigma = 1.0 - (1.0 - *sigma) / stretch;
            }
        }
        sigmas.push(0.0);
        Ok(Self { sigmas })
    }

    /// The noise levels, one more than there are steps; the last is 0.
    pub fn sigmas(&self) -> &[f32] {
        &self.sigmas
    }

    /// The number of steps.
    pub fn steps(&self) -> usize {
        self.sigmas.len() - 1
    }

    /// The noise levels between which a step goes.
    pub fn interval(&self, step: usize) -> Interval {
        Interval {
            sigma: self.sigmas[step],
            next: self.sigmas[step + 1],
        }
    }
}

/// What the transformer is told at a noise level: it by way of the reference's thousand training
/// steps, with its rounding.
pub fn timestep(sigma: f32) -> f32 {
    sigma * 1000.0 / 1000.0
}

/// The factor `a` of the shift `a / (a + 1 / sigma - 1)`.
fn shift_factor(config: &SchedulerConfig, image_tokens: usize) -> f32 {
    if !config.use_dynamic_shifting {
        return config.shift as f32;
    }
    let slope = (config.max_shift - config.base_shift)
        / (config.max_image_seq_len - config.base_image_seq_len);
    let mu = image_tokens as f64 * slope + config.base_shift - slope * config.base_image_seq_len;
    mu.exp() as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_single_step_is_refused() {
        let config = SchedulerConfig::default();
        assert_eq!(
            Schedule::new(&config, 1, 4096),
            Err(ScheduleError::TooFewSteps(1))
        );
    }

    #[test]
    fn a_fixed_shift_needs_no_stretch() {
        let config = SchedulerConfig {
            use_dynamic_shifting: false,
            shift: 3.0,
            shift_terminal: None,
            ..SchedulerConfig::default()
        };
        let schedule = Schedule::new(&config, 4, 4096).expect("four steps");
        for (found, expected) in schedule.sigmas().iter().zip([1.0, 0.9, 0.75, 0.5, 0.0]) {
            assert!((found - expected).abs() < 1e-6, "{found} != {expected}");
        }
    }
}
