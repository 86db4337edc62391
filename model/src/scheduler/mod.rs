//! Schedules: the noise levels `σ` that a sampler goes through, from 1 (noise) to 0 (image).

mod dynamic;
mod kind;
mod table;

pub use kind::{ScheduleKind, ScheduleKindError};

use crate::config::SchedulerConfig;
use crate::sampler::Interval;

/// The part of an image from which on ComfyUI treats it as the whole.
const WHOLE: f64 = 0.9999;
/// The most steps of a schedule of which only the end is run.
const MAX_WHOLE_STEPS: f64 = 1e6;

/// The noise levels of a denoising run: strictly decreasing from at most 1, with 0 at the end.
#[derive(Clone, Debug, PartialEq)]
pub struct Schedule {
    sigmas: Vec<f32>,
}

/// Why a schedule cannot be made.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ScheduleError {
    /// One step leaves nothing to stretch, and zero steps lead nowhere.
    #[error(
        "{0} denoising step(s): at least 2 are needed, since the schedule is stretched between its first and last noise level"
    )]
    TooFewSteps(usize),
    /// There is no step at all.
    #[error("0 denoising steps: at least 1 is needed")]
    NoSteps,
    /// There are more steps than levels to choose from.
    #[error("{steps} denoising steps: this schedule chooses from {levels} noise levels")]
    TooManySteps {
        /// The steps asked for.
        steps: usize,
        /// The levels that there are.
        levels: usize,
    },
    /// No step is left for a part of an image.
    #[error("{0} is too small a part of an image to be changed in steps")]
    PartTooSmall(f64),
    /// A level lies outside `[0, 1]`.
    #[error("noise level {0} is not from 0 to 1")]
    OutOfRange(f32),
    /// The levels do not fall.
    #[error("noise levels must fall from each to the next, but {next} follows {sigma}")]
    NotFalling {
        /// A level.
        sigma: f32,
        /// The one after it.
        next: f32,
    },
}

impl Schedule {
    /// Makes the schedule of a model's scheduler config: `steps` steps for an image of
    /// `image_tokens` tokens.
    ///
    /// # Errors
    /// There are fewer than two steps although the end is stretched, or none at all.
    pub fn new(
        config: &SchedulerConfig,
        steps: usize,
        image_tokens: usize,
    ) -> Result<Self, ScheduleError> {
        Self::from_sigmas(dynamic::sigmas(config, steps, image_tokens)?)
    }

    /// Makes the schedule of a kind. `steps` is ignored if the kind lists its levels
    /// ([`ScheduleKind::listed_steps`]). [`ScheduleKind::Beta`] may have fewer steps, since it leaves
    /// out levels that it meets twice.
    ///
    /// # Errors
    /// The kind cannot take this number of steps, or its levels do not fall from 1 to 0.
    pub fn of_kind(
        kind: &ScheduleKind,
        config: &SchedulerConfig,
        steps: usize,
        image_tokens: usize,
    ) -> Result<Self, ScheduleError> {
        Self::from_sigmas(match kind {
            ScheduleKind::Dynamic => dynamic::sigmas(config, steps, image_tokens)?,
            ScheduleKind::DynamicBeta => {
                dynamic::beta_between_ends(&dynamic::sigmas(config, steps, image_tokens)?)
            }
            ScheduleKind::DynamicKarras => {
                dynamic::karras_between_ends(&dynamic::sigmas(config, steps, image_tokens)?)
            }
            ScheduleKind::DynamicExponential => {
                dynamic::exponential_between_ends(&dynamic::sigmas(config, steps, image_tokens)?)
            }
            ScheduleKind::Shift(shift) => dynamic::shifted(steps, *shift as f32)?,
            ScheduleKind::Simple(shift) => table::simple(steps, *shift)?,
            ScheduleKind::Beta(shift) => table::beta(steps, *shift)?,
            ScheduleKind::Sigmas(sigmas) => sigmas.clone(),
        })
    }

    /// Makes the end of a kind's schedule, for a run that changes only a `part` of an image, up to 1,
    /// as ComfyUI does. It is the last `steps` of `steps / part` steps; of listed levels it is the
    /// last `part`, rounded. Levels that occur twice in it are taken once.
    ///
    /// # Errors
    /// The errors of [`of_kind`](Self::of_kind); or the part leaves no step.
    pub fn tail_of_kind(
        kind: &ScheduleKind,
        config: &SchedulerConfig,
        steps: usize,
        image_tokens: usize,
        part: f64,
    ) -> Result<Self, ScheduleError> {
        if part > WHOLE {
            return Self::of_kind(kind, config, steps, image_tokens);
        }
        let whole = steps as f64 / part;
        if whole.is_nan() || whole > MAX_WHOLE_STEPS {
            return Err(ScheduleError::PartTooSmall(part));
        }
        let whole = whole as usize;
        let mut kept = steps;
        let mut sigmas = match kind {
            ScheduleKind::Simple(shift) => table::simple_repeating(whole, *shift),
            ScheduleKind::Beta(shift) => table::beta_distinct(whole, *shift),
            ScheduleKind::Sigmas(_) => {
                let listed = Self::of_kind(kind, config, steps, image_tokens)?;
                kept = (listed.steps() as f64 * part).round_ties_even() as usize;
                listed.sigmas
            }
            _ => Self::of_kind(kind, config, whole, image_tokens)?.sigmas,
        };
        if sigmas.last().is_some_and(|&last| last > 0.0) {
            sigmas.push(0.0);
        }
        let mut tail = sigmas.split_off(sigmas.len().saturating_sub(kept + 1));
        tail.dedup();
        match tail.len() {
            0 | 1 => Err(ScheduleError::PartTooSmall(part)),
            _ => Self::from_sigmas(tail),
        }
    }

    /// Makes a schedule of given levels, with 0 after them if it is not the last.
    ///
    /// # Errors
    /// A level lies outside `[0, 1]` or is not below the one before it, or none is above 0.
    pub fn from_sigmas(mut sigmas: Vec<f32>) -> Result<Self, ScheduleError> {
        if let Some(&bad) = sigmas.iter().find(|sigma| !(0.0..=1.0).contains(*sigma)) {
            return Err(ScheduleError::OutOfRange(bad));
        }
        if sigmas.last().is_some_and(|&last| last > 0.0) {
            sigmas.push(0.0);
        }
        if sigmas.len() < 2 {
            return Err(ScheduleError::NoSteps);
        }
        match sigmas.windows(2).find(|pair| pair[1] >= pair[0]) {
            Some(pair) => Err(ScheduleError::NotFalling {
                sigma: pair[0],
                next: pair[1],
            }),
            None => Ok(Self { sigmas }),
        }
    }

    /// The noise levels, one more than there are steps; the last is 0.
    pub fn sigmas(&self) -> &[f32] {
        &self.sigmas
    }

    /// The number of steps.
    pub fn steps(&self) -> usize {
        self.sigmas.len() - 1
    }

    /// The timesteps that the transformer is told of in the steps from `start` on. Every sampler
    /// asks for a velocity at each of them, and at no other.
    pub fn timesteps(&self, start: usize) -> Vec<f32> {
        let steps = self.sigmas.get(start..self.steps()).unwrap_or_default();
        steps.iter().copied().map(timestep).collect()
    }

    /// The noise levels at the ends of a step.
    pub fn interval(&self, step: usize) -> Interval {
        Interval {
            sigma: self.sigmas[step],
            next: self.sigmas[step + 1],
        }
    }
}

/// The number that the transformer is given for a noise level: the level itself, by way of the
/// reference's thousand training steps, with its rounding.
pub fn timestep(sigma: f32) -> f32 {
    sigma * 1000.0 / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(kind: &str, steps: usize) -> Result<Schedule, ScheduleError> {
        let kind = kind.parse().expect("a schedule");
        Schedule::of_kind(&kind, &SchedulerConfig::default(), steps, 4096)
    }

    fn near(schedule: &Schedule, expected: &[f32]) {
        assert_eq!(schedule.sigmas().len(), expected.len());
        for (found, expected) in schedule.sigmas().iter().zip(expected) {
            assert!((found - expected).abs() < 1e-6, "{found} != {expected}");
        }
    }

    #[test]
    fn a_single_step_is_refused_where_the_schedule_is_stretched() {
        for kind in [
            "dynamic",
            "dynamic-beta",
            "dynamic-karras",
            "dynamic-exponential",
        ] {
            assert_eq!(of(kind, 1), Err(ScheduleError::TooFewSteps(1)));
            assert_eq!(of(kind, 0), Err(ScheduleError::TooFewSteps(0)));
        }
    }

    #[test]
    fn a_single_step_goes_from_noise_to_image_elsewhere() {
        for kind in ["shift=3", "simple", "beta"] {
            near(&of(kind, 1).expect("one step"), &[1.0, 0.0]);
            assert_eq!(of(kind, 0), Err(ScheduleError::NoSteps));
        }
    }

    #[test]
    fn lightning_is_shifted_by_three_at_every_size() {
        for image_tokens in [256, 4096, 6889] {
            let schedule = Schedule::new(&SchedulerConfig::lightning(), 4, image_tokens);
            near(&schedule.expect("four steps"), &[1.0, 0.9, 0.75, 0.5, 0.0]);
        }
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
        near(&schedule, &[1.0, 0.9, 0.75, 0.5, 0.0]);
        assert_eq!(of("shift=3", 4), Ok(schedule));
    }

    #[test]
    fn comfyuis_workflow_has_its_levels() {
        let schedule = of("simple", 20).expect("twenty steps");
        let sigmas = schedule.sigmas();
        let expected = [
            1.0, 0.983306, 0.965398, 0.94614, 0.925373, 0.256198, 0.140271, 0.0,
        ];
        let found = sigmas[..5].iter().chain(&sigmas[18..]);
        for (found, expected) in found.zip(expected) {
            assert!((found - expected).abs() < 1e-6, "{found} != {expected}");
        }
    }

    #[test]
    fn a_table_has_an_end() {
        for kind in ["simple", "beta"] {
            assert!(of(kind, 1000).is_ok());
            let refused = ScheduleError::TooManySteps {
                steps: 1001,
                levels: 1000,
            };
            assert_eq!(of(kind, 1001), Err(refused));
        }
    }

    #[test]
    fn levels_that_beta_meets_twice_are_left_out() {
        let schedule = of("beta", 500).expect("a schedule");
        assert!(schedule.steps() < 500, "{} steps", schedule.steps());
    }

    #[test]
    fn a_part_of_an_image_has_the_last_steps_of_a_longer_schedule() {
        let tail = |kind: &str, steps, part| {
            let kind = kind.parse().expect("a schedule");
            Schedule::tail_of_kind(&kind, &SchedulerConfig::default(), steps, 4096, part)
        };
        for (kind, part, whole) in [
            ("simple", 0.5, 8),
            ("simple", 0.6, 6),
            ("simple=3", 0.3, 13),
            ("beta", 0.5, 8),
            ("shift=3", 0.5, 8),
            ("dynamic", 0.5, 8),
        ] {
            let longer = of(kind, whole).expect("the longer schedule");
            let found = tail(kind, 4, part).expect("its end");
            assert_eq!(
                found.sigmas(),
                &longer.sigmas()[whole - 4..],
                "{kind} {part}"
            );
        }
        assert_eq!(tail("simple", 4, 0.99995), of("simple", 4));
        assert_eq!(tail("simple", 4, 0.9999), of("simple", 4));
        // With 2000 steps each level of the table is met twice.
        let few = tail("simple", 20, 0.01).expect("levels");
        let all = of("simple", 1000).expect("all levels");
        assert_eq!(few.sigmas(), &all.sigmas()[990..]);
        // A list gives its last half, rounded to the even number.
        let listed = tail("sigmas=1,0.8,0.6,0.4,0.2", 5, 0.5).expect("levels");
        assert_eq!(listed.sigmas(), [0.4, 0.2, 0.0]);
        for (kind, part) in [("simple", 1e-300), ("dynamic", 0.0), ("sigmas=1,0.5", 0.2)] {
            let refused = Err(ScheduleError::PartTooSmall(part));
            assert_eq!(tail(kind, 2, part), refused, "{kind}");
        }
    }

    #[test]
    fn a_shift_that_makes_levels_equal_is_refused() {
        let refused = of("shift=100000000", 20);
        assert!(
            matches!(refused, Err(ScheduleError::NotFalling { .. })),
            "{refused:?}"
        );
    }

    #[test]
    fn listed_levels_end_at_zero() {
        let levels = |list: &[f32]| Schedule::from_sigmas(list.to_vec());
        near(&levels(&[1.0, 0.5]).expect("levels"), &[1.0, 0.5, 0.0]);
        near(&levels(&[0.9, 0.5, 0.0]).expect("levels"), &[0.9, 0.5, 0.0]);
        for list in [&[][..], &[0.0]] {
            assert_eq!(levels(list), Err(ScheduleError::NoSteps));
        }
        for bad in [1.5, -0.1, f32::INFINITY] {
            assert_eq!(levels(&[bad, 0.1]), Err(ScheduleError::OutOfRange(bad)));
        }
        assert!(levels(&[f32::NAN]).is_err());
        for list in [&[0.5, 0.5][..], &[0.5, 0.6], &[1.0, 0.0, 0.0]] {
            assert!(matches!(
                levels(list),
                Err(ScheduleError::NotFalling { .. })
            ));
        }
    }
}
