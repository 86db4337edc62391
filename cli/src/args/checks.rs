//! The ranges of numbers that flags and prompt files give. `what` names the flag or field.

use std::ops::RangeInclusive;

use super::image_size::{MAX_SIDE, SIDE_MULTIPLE};
use crate::error::CliError;

/// Denoising steps that can be asked for: with one, the schedule, which ends above zero noise, has
/// no slope to follow.
pub(crate) const STEPS: RangeInclusive<usize> = 2..=1000;
const MAX_CFG_SCALE: f64 = 100.0;

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

/// Denoising steps.
pub(crate) fn steps(what: &str, value: i64) -> Result<usize, CliError> {
    if value == 1 {
        return usage(format!(
            "{what} must be at least 2: with one step the schedule, which ends above zero noise, \
             has no slope to follow"
        ));
    }
    ranged(what, value, STEPS)
}

/// Guidance scale.
pub(crate) fn cfg_scale(what: &str, value: f64) -> Result<f64, CliError> {
    if (1.0..=MAX_CFG_SCALE).contains(&value) {
        return Ok(value);
    }
    usage(format!(
        "{what} must be a number from 1 (no guidance) to {MAX_CFG_SCALE}, not {value}"
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
/// does, so that the same numbers give the same picture.
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
