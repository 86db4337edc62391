//! `plan`: how much memory each phase takes, and whether it fits, without loading anything.

use super::generate;
use crate::args::{Environment, PlanArgs, PlanConfig};
use crate::error::CliError;

/// Prints the plan.
///
/// # Errors
/// The same as [`generate::plan`].
pub(crate) fn run(args: PlanArgs) -> Result<(), CliError> {
    let config = PlanConfig::resolve(args, Environment::of_process())?;
    generate::plan(&config)
}
