//! Results that are not finite: whose fault they are.

use engine::Error;
use loader::Weights;

use crate::console::Console;
use crate::error::CliError;
use crate::models;

/// The error for results of a model that are not finite: its file's, if that holds such numbers
/// itself, or else `otherwise`.
pub(super) fn blame(weights: &Weights, console: Console, otherwise: Error) -> CliError {
    console.note(&format!(
        "numbers that are not finite; looking for such ones in {}",
        models::name(weights)
    ));
    match loader::find_not_finite(weights) {
        Ok(()) => otherwise.into(),
        Err(error) => error.into(),
    }
}
