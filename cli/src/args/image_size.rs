//! The image's width and height, checked.

use super::groups::SizeArgs;
use crate::error::CliError;

/// Image sides are multiples of this: the VAE's factor 8 times the transformer's 2x2 patches.
pub(crate) const SIDE_MULTIPLE: u32 = 16;
/// The longest side taken; beyond it lies a mistyped number.
pub(crate) const MAX_SIDE: u32 = 8192;

/// Width and height as far as the user gave them, multiples of [`SIDE_MULTIPLE`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ImageSize {
    /// Pixels across.
    pub(crate) width: Option<u32>,
    /// Pixels down.
    pub(crate) height: Option<u32>,
}

impl ImageSize {
    /// Checks the flags and adds a notice for each side that is rounded.
    ///
    /// # Errors
    /// [`CliError::Usage`] for a side out of range.
    pub(super) fn resolve(args: &SizeArgs, notices: &mut Vec<String>) -> Result<Self, CliError> {
        Ok(Self {
            width: side("width", args.width, notices)?,
            height: side("height", args.height, notices)?,
        })
    }
}

/// Checks one side and rounds it down, as the reference pipeline does, so that the same numbers
/// give the same picture.
fn side(
    flag: &str,
    value: Option<i64>,
    notices: &mut Vec<String>,
) -> Result<Option<u32>, CliError> {
    let Some(value) = value else { return Ok(None) };
    let side = match u32::try_from(value) {
        Ok(side) if (SIDE_MULTIPLE..=MAX_SIDE).contains(&side) => side,
        _ => {
            return Err(CliError::Usage(format!(
                "--{flag} must be from {SIDE_MULTIPLE} to {MAX_SIDE} pixels, not {value}"
            )));
        }
    };
    let rounded = side - side % SIDE_MULTIPLE;
    if rounded != side {
        notices.push(format!(
            "{flag} {side} is not a multiple of {SIDE_MULTIPLE}; using {rounded}"
        ));
    }
    Ok(Some(rounded))
}
