//! `completions`: the flags, for a shell to complete.

use clap::CommandFactory;
use clap_complete::Shell;

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
    let script = String::from_utf8_lossy(&script);
    console::stdout(&match args.shell {
        Shell::Bash => under_one_name(&script),
        _ => script.into_owned(),
    })
}

/// The script for bash with one spelling of the program's name. clap_complete writes the hyphen in
/// it one way where a command is recognised and another where its flags are looked up, so that
/// none would be found.
fn under_one_name(script: &str) -> String {
    script.replace("qwen__subcmd__image", "qwen__image")
}
