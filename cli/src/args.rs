//! The command line: raw flags as clap sees them, then a checked configuration.

pub(crate) mod checks;
mod compute;
mod download;
mod environment;
mod generate;
mod groups;
mod image_input;
mod image_size;
mod lora;
mod not_text;
mod pictures;
mod plan;
mod preview;
mod prompt;
mod raw;
mod sampling;
mod size;
mod sources;

pub(crate) use checks::STEPS;
pub(crate) use compute::ComputeConfig;
pub(crate) use download::{DownloadArgs, DownloadConfig};
pub(crate) use environment::Environment;
pub(crate) use generate::{GenerateConfig, PromptSource};
pub(crate) use groups::{BackendName, DtypeChoice, VaeTiling};
pub(crate) use image_input::ImageInput;
pub(crate) use image_size::{ImageSize, MAX_SIDE, SIDE_MULTIPLE};
pub(crate) use lora::{LightningSteps, MAX_WEIGHT, RecordedLoras};
pub(crate) use plan::PlanConfig;
pub(crate) use raw::{Cli, Command, CompletionsArgs, DevicesArgs, GenerateArgs, InspectArgs};
pub(crate) use raw::{FixturePart, MakeFixtureArgs};
pub(crate) use raw::{ManArgs, PlanArgs};
pub(crate) use sampling::{Asked, Preset, SamplerName, Sampling};
pub(crate) use size::{format_bytes, limit_for};
pub(crate) use sources::ModelSources;

use clap::error::ErrorKind;

use crate::console::stderr_line;
use crate::error::CliError;
use crate::exit::ExitCode;

/// How much the program says on stderr.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Verbosity {
    /// Errors only.
    Quiet,
    /// Progress, notices and one line a phase.
    Normal,
    /// Also what was chosen and measured.
    Verbose,
}

/// Prints a command-line error (or the help text, which clap also reports as one) and returns the
/// exit code. A value that does not parse is told in one line; clap's usage block stays for
/// misspelt or missing flags, where it helps.
pub(crate) fn report_clap_error(error: &clap::Error) -> ExitCode {
    use std::io::Write;
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
            let text = error.render().to_string();
            let line = one_line(&text);
            let _ = writeln!(std::io::stderr(), "{line}");
            ExitCode::Usage
        }
        ErrorKind::InvalidUtf8 => {
            match not_text::flag(std::env::args_os().skip(1)) {
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

/// The first paragraph of clap's message, its lines joined (`[possible values: …]` is the second).
fn one_line(text: &str) -> String {
    text.lines()
        .map(str::trim)
        .take_while(|line| !line.is_empty())
        .collect::<Vec<_>>()
        .join(" ")
}
