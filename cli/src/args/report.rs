//! Prints what clap has to say of a command line.

use std::ffi::OsString;
use std::io::Write;

use clap::error::ErrorKind;

use super::mistakes::{explain, value_tip};
use super::not_text;
use crate::console::stderr_line;
use crate::error::CliError;
use crate::exit::ExitCode;

/// Prints a command-line error (or the help text, which clap also reports as one) and returns the
/// exit code. A value that does not parse is told in one line; clap's usage block stays for
/// misspelt or missing flags, where it helps.
pub(crate) fn report_clap_error(mut error: clap::Error) -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    explain(&mut error, &arguments);
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
            stderr_line(&one_line(&error));
            ExitCode::Usage
        }
        ErrorKind::InvalidUtf8 => {
            match not_text::flag(arguments.into_iter()) {
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
fn one_line(error: &clap::Error) -> String {
    let text = error.render().to_string();
    let lines = text.lines().map(str::trim);
    let mut line = lines
        .take_while(|line| !line.is_empty())
        .collect::<Vec<_>>()
        .join(" ");
    if let Some(tip) = value_tip(error) {
        line.push_str("; tip: ");
        line.push_str(&tip);
    }
    line
}
