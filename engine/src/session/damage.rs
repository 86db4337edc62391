//! Results that are not finite: whose fault they are.

use loader::Weights;

use super::run::Run;
use crate::error::Error;
use crate::events::Status;
use crate::models;

/// Makes the error for results of a model that are not finite: its file's, if that holds such
/// numbers itself, or else `otherwise`.
pub(super) fn blame(run: &mut Run<'_>, weights: &Weights, otherwise: Error) -> Error {
    run.tell(Status::LookingForNotFinite {
        model: models::name(weights),
    });
    match loader::find_not_finite(weights) {
        Ok(()) => otherwise,
        Err(error) => error.into(),
    }
}
