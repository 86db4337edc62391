//! The ranges of numbers that flags and prompt files give. `what` names the flag or field.

use std::ops::RangeInclusive;
use std::str::FromStr;

use engine::bytes::parse_bytes;
use engine::request::{MAX_SIDE, Preset, SIDE_MULTIPLE, STEPS};
use model::scheduler::ScheduleKind;

use crate::error::CliError;

const MAX_CFG_SCALE: f64 = 100.0;

/// The most images of each prompt.
pub(super) const MAX_BATCH: usize = 1000;
/// The most steps between previews; no schedule has more.
pub(super) const MAX_INTERVAL: usize = 1000;
/// Qualities of a JPEG file.
pub(super) const QUALITIES: RangeInclusive<usize> = 1..=100;

/// A whole number that is not negative, for clap to name the flag it was given to.
///
/// # Errors
/// Says what the value must be.
pub(super) fn whole<N: FromStr>(text: &str) -> Result<N, String> {
    parsed(text, "a whole number from 0")
}

/// A side for clap, as of the functions below: what is a number is checked later, where numbers of
/// recipes and prompt files are checked as well.
pub(super) fn parse_side(text: &str) -> Result<i64, String> {
    parsed(
        text,
        &format!("{} pixels", whole_in(&(SIDE_MULTIPLE..=MAX_SIDE))),
    )
}

/// Steps for clap.
pub(super) fn parse_steps(text: &str) -> Result<i64, String> {
    parsed(text, &whole_in(&STEPS))
}

/// A number of images for clap.
pub(super) fn parse_count(text: &str) -> Result<i64, String> {
    parsed(text, &whole_in(&(1..=MAX_BATCH)))
}

/// A number of steps between previews for clap.
pub(super) fn parse_interval(text: &str) -> Result<i64, String> {
    parsed(text, &whole_in(&(1..=MAX_INTERVAL)))
}

/// A quality for clap.
pub(super) fn parse_quality(text: &str) -> Result<i64, String> {
    parsed(text, &whole_in(&QUALITIES))
}

/// The size of a cache, of which 0 is none.
pub(super) fn parse_cache(text: &str) -> Result<u64, String> {
    match text.trim() {
        "0" => Ok(0),
        text => parse_bytes(text),
    }
}

/// A seed for clap.
pub(super) fn parse_seed(text: &str) -> Result<i128, String> {
    parsed(text, &whole_in(&(0..=u64::MAX)))
}

/// A guidance scale for clap.
pub(super) fn parse_cfg_scale(text: &str) -> Result<f64, String> {
    let least = Preset::Diffusers.least_cfg_scale();
    parsed(
        text,
        &format!("a number from {least} to {MAX_CFG_SCALE}, as 4 or 2.5"),
    )
}

/// A part of one for clap.
pub(super) fn parse_strength(text: &str) -> Result<f64, String> {
    parsed(text, "a number above 0 and at most 1, as 0.6")
}

fn parsed<N: FromStr>(text: &str, wanted: &str) -> Result<N, String> {
    let number = text.trim().parse();
    number.map_err(|_| format!("it must be {wanted}"))
}

fn whole_in<N: std::fmt::Display>(range: &RangeInclusive<N>) -> String {
    format!("a whole number from {} to {}", range.start(), range.end())
}

/// A whole number within a range.
///
/// # Errors
/// [`CliError::Usage`], as of all checks.
pub(crate) fn ranged(
    what: &str,
    value: i64,
    range: RangeInclusive<usize>,
) -> Result<usize, CliError> {
    match usize::try_from(value) {
        Ok(number) if range.contains(&number) => Ok(number),
        _ => usage(format!(
            "{what} must be from {} to {}, not {value}",
            range.start(),
            range.end()
        )),
    }
}

/// Denoising steps, as a schedule can have them.
pub(crate) fn steps(what: &str, value: i64, schedule: &ScheduleKind) -> Result<usize, CliError> {
    let steps = ranged(what, value, STEPS)?;
    let stretched = schedule.is_dynamic();
    match schedule.listed_steps() {
        Some(listed) if steps != listed => usage(format!(
            "{what} {steps} contradicts the {listed} noise levels of --schedule; leave it out"
        )),
        None if steps == 1 && stretched => usage(format!(
            "{what} must be at least 2: with one step the schedule, which ends above zero noise, \
             has no slope to follow; --schedule simple can have one"
        )),
        _ => Ok(steps),
    }
}

/// Guidance scale, as a preset can have it.
pub(crate) fn cfg_scale(what: &str, value: f64, preset: Preset) -> Result<f64, CliError> {
    let least = preset.least_cfg_scale();
    if (least..=MAX_CFG_SCALE).contains(&value) {
        return Ok(value);
    }
    usage(format!(
        "{what} must be a number from {least} to {MAX_CFG_SCALE} (1 is no guidance), not {value}"
    ))
}

/// Seed of the noise.
pub(crate) fn seed(what: &str, value: i128) -> Result<u64, CliError> {
    u64::try_from(value).map_err(|_| {
        CliError::Usage(format!(
            "{what} must be from 0 to {}, not {value}; leave it out for a random one",
            u64::MAX
        ))
    })
}

/// A side in pixels, rounded down to a multiple of 16 with a notice, as the reference pipeline
/// does, so that the same numbers give the same image.
pub(crate) fn side(what: &str, value: i64, notices: &mut Vec<String>) -> Result<u32, CliError> {
    let side = match u32::try_from(value) {
        Ok(side) if (SIDE_MULTIPLE..=MAX_SIDE).contains(&side) => side,
        _ => {
            return usage(format!(
                "{what} must be from {SIDE_MULTIPLE} to {MAX_SIDE} pixels, not {value}"
            ));
        }
    };
    let rounded = side - side % SIDE_MULTIPLE;
    if rounded != side {
        let name = what.trim_start_matches('-');
        notices.push(format!(
            "{name} {side} is not a multiple of {SIDE_MULTIPLE}; using {rounded}"
        ));
    }
    Ok(rounded)
}

fn usage<T>(message: String) -> Result<T, CliError> {
    Err(CliError::Usage(message))
}
