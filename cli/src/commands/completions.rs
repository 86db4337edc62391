//! `completions`: the flags, for a shell to complete.

use clap::CommandFactory;

use crate::args::{Cli, CompletionsArgs};
use crate::console;
use crate::error::CliError;

/// Prints the script.
///
/// # Errors
/// [`CliError::Stdout`].
pub(crate) fn run(args: &CompletionsArgs) -> Result<(), CliError> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "qwen-image", &mut script);
    console::stdout(&String::from_utf8_lossy(&script))
}
