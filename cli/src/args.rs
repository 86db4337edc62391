//! The command line: raw flags as clap sees them, then a checked configuration.

pub(crate) mod checks;
mod choice;
mod compute;
mod download;
mod elsewhere;
mod environment;
mod generate;
mod groups;
mod hub;
mod image_input;
mod images;
mod lora;
mod mistakes;
mod not_text;
mod plan;
mod preview;
mod prompt;
mod raw;
mod report;
mod sampling;
mod shell;
mod sources;

pub(crate) use compute::advise;
pub(crate) use download::{DownloadArgs, DownloadConfig, Variant};
pub(crate) use environment::Environment;
pub(crate) use generate::{GenerateConfig, PromptSource};
pub(crate) use image_input::image_files;
pub(crate) use lora::check_lightning;
pub(crate) use plan::PlanConfig;
pub(crate) use raw::{Cli, Command, CompletionsArgs, DevicesArgs, GenerateArgs, InspectArgs};
pub(crate) use raw::{FixturePart, MakeFixtureArgs};
pub(crate) use raw::{ManArgs, PlanArgs};
pub(crate) use report::from_command_line;

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
