//! Prints what clap has to say of a command line.

use std::ffi::OsString;
use std::io::Write;

use clap::Parser;
use clap::error::ErrorKind;

use super::mistakes::{explain, one_dash_flag, value_tip};
use super::{Cli, not_text};
use crate::console::stderr_line;
use crate::error::CliError;
use crate::exit::ExitCode;

/// The command line, or what is said of it and the exit code.
///
/// # Errors
/// The code of a command line that is wrong, or that asks for help.
pub(crate) fn from_command_line() -> Result<Cli, ExitCode> {
    let arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    if let Some(fault) = one_dash_flag(&arguments) {
        stderr_line(&format!("error: {fault}"));
        return Err(ExitCode::Usage);
    }
    Cli::try_parse().map_err(|error| report(error, &arguments))
}

/// Prints a command-line error (or the help text, which clap also reports as one) and returns the
/// exit code. A value that does not parse is told in one line; clap's usage block stays for
/// misspelt or missing flags, where it helps.
fn report(mut error: clap::Error, arguments: &[OsString]) -> ExitCode {
    explain(&mut error, arguments);
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            let printed = error.print().and_then(|()| std::io::stdout().flush());
            match printed {
                // A closed pipe (`--help | head -1`) is no failure.
                Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
                    let error = CliError::Stdout(error);
                    stderr_line(&format!("error: {error}"));
                    error.exit_code()
                }
                _ => ExitCode::Done,
            }
        }
        ErrorKind::InvalidValue | ErrorKind::ValueValidation => {
            stderr_line(&one_line(&error, arguments));
            ExitCode::Usage
        }
        ErrorKind::InvalidUtf8 => {
            match not_text::flag(arguments) {
                Some(flag) => stderr_line(&format!("error: the value of {flag} is not UTF-8")),
                None => drop(error.print()),
            }
            ExitCode::Usage
        }
        _ => {
            let _ = error.print();
            ExitCode::Usage
        }
    }
}

/// The first paragraph of clap's message, its lines joined (`[possible values: …]` is the second),
/// and a tip.
fn one_line(error: &clap::Error, arguments: &[OsString]) -> String {
    let text = error.render().to_string();
    let lines = text.lines().map(str::trim);
    let mut line = lines
        .take_while(|line| !line.is_empty())
        .collect::<Vec<_>>()
        .join(" ");
    if let Some(tip) = value_tip(error, arguments) {
        line.push_str("; tip: ");
        line.push_str(&tip);
    }
    line
}
