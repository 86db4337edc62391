//! The rates of the disk and the device that a session works with.

use std::time::{Duration, Instant};

use loader::read_rate;

use super::Session;
use crate::plan::{Setting, Streaming};
use crate::rates::{Computes, Rates};

/// How long a disk is read whose rate is not known.
const READING: Duration = Duration::from_millis(300);
/// The fewest operations of a pass that show how fast a device is. Smaller ones, as those of tiny
/// models, show how long it takes to begin.
const LEAST: f64 = 1e12;
/// The largest part of the time that steps may have waited.
const MOST_WAITED: f64 = 0.05;
/// Steps before the first one that is measured: those in which kernels are compiled.
const WARMING: usize = 1;

impl Session {
    /// Adds the rates that earlier runs have found, and that of the disk if none has.
    pub(super) fn with_rates(&self, setting: Setting) -> Setting {
        let rates = self.rates();
        let computes = self.computes();
        let known = rates.as_ref().zip(computes);
        Setting {
            read_rate: self.disk_rate(rates.as_ref()),
            flops_per_second: known.and_then(|(rates, computes)| rates.of_device(computes)),
            ..setting
        }
    }

    /// Adds the rates where something is streamed.
    pub(super) fn with_rates_of(&self, streaming: Option<&Streaming>, setting: Setting) -> Setting {
        match streaming {
            Some(_) => self.with_rates(setting),
            None => setting,
        }
    }

    /// Keeps the bytes a second that the disk was found to give.
    pub(super) fn keep_disk_rate(&self, rate: f64) {
        if let Some(rates) = self.rates() {
            rates.keep_of_disk(&self.models.transformer.weights, rate);
        }
    }

    /// Keeps how fast a pass of so many operations was, by the times at which the steps that had
    /// `passes` of it each ended. Steps that have `waited` for a disk tell nothing of the device.
    pub(super) fn keep_pace(&self, flops: f64, passes: f64, ends: &[Instant], waited: f64) {
        let rates = self.rates().zip(self.computes());
        if let Some((rates, computes)) = rates
            && flops >= LEAST
            && let Some(seconds) = step_seconds(ends)
            && waited < MOST_WAITED * seconds * ends.len() as f64
        {
            rates.keep_of_device(computes, flops * passes / seconds);
        }
    }

    fn rates(&self) -> Option<Rates> {
        self.kept.rates.clone().map(Rates::new)
    }

    fn computes(&self) -> Option<Computes> {
        Some(Computes {
            device: self.device?,
            dtype: self.setting.dtype,
            arithmetic: self.setting.arithmetic,
        })
    }

    fn disk_rate(&self, rates: Option<&Rates>) -> Option<f64> {
        let weights = &self.models.transformer.weights;
        *self.read_rate.get_or_init(|| {
            let known = rates.and_then(|rates| rates.of_disk(weights));
            // A file that cannot be read now is told of when it is loaded.
            known.or_else(|| {
                let rate = read_rate(weights, READING).ok()?;
                if let Some(rates) = rates {
                    rates.keep_of_disk(weights, rate);
                }
                Some(rate)
            })
        })
    }
}

/// The seconds of a usual step: the median, since a step may be held up by something else.
fn step_seconds(ends: &[Instant]) -> Option<f64> {
    let ends = ends.get(WARMING..)?;
    let mut seconds: Vec<f64> = ends
        .windows(2)
        .map(|pair| (pair[1] - pair[0]).as_secs_f64())
        .collect();
    seconds.sort_by(f64::total_cmp);
    seconds.get(seconds.len() / 2).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_takes_the_median_of_those_after_the_first() {
        let began = Instant::now();
        let ends = |seconds: &[u64]| {
            let ends = seconds.iter().scan(began, |end, seconds| {
                *end += Duration::from_secs(*seconds);
                Some(*end)
            });
            step_seconds(&ends.collect::<Vec<_>>())
        };
        assert_eq!(ends(&[30, 2, 3, 90, 3, 2, 3]), Some(3.0));
        assert_eq!(ends(&[30, 9, 2]), Some(2.0));
        // Neither the first nor one alone is a pace.
        assert_eq!(ends(&[30, 2]), None);
        assert_eq!(ends(&[]), None);
    }
}
