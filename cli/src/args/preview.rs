//! Flags about previews, and checked.

use clap::Args;

use super::checks::{self, MAX_INTERVAL};
use super::groups::OUTPUT;
use crate::error::CliError;

/// Flags about previews.
#[derive(Debug, Args)]
#[command(next_help_heading = OUTPUT)]
pub(crate) struct PreviewArgs {
    /// Every N steps, write what the image will be to FILE.preview.png beside it: an eighth of
    /// its size, at next to no cost. Removed when the image is there
    #[arg(long, value_name = "N", value_parser = checks::parse_interval, allow_negative_numbers = true)]
    pub(crate) preview: Option<i64>,

    /// Show the previews in the terminal too, if it can: kitty's and iTerm2's protocols,
    /// sixels, else blocks of 24-bit colour
    #[arg(long, requires = "preview")]
    pub(crate) preview_inline: bool,
}

/// When and where previews are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PreviewConfig {
    /// Steps from one preview to the next, at least 1.
    pub(crate) every: usize,
    /// True if the terminal shows them too.
    pub(crate) inline: bool,
}

impl PreviewConfig {
    /// The flags, checked; `None` for no previews.
    ///
    /// # Errors
    /// [`CliError::Usage`].
    pub(super) fn resolve(args: &PreviewArgs) -> Result<Option<Self>, CliError> {
        let Some(steps) = args.preview else {
            return Ok(None);
        };
        match usize::try_from(steps) {
            Ok(every) if (1..=MAX_INTERVAL).contains(&every) => Ok(Some(Self {
                every,
                inline: args.preview_inline,
            })),
            _ => Err(CliError::Usage(format!(
                "--preview must be from 1 to {MAX_INTERVAL} steps, not {steps}"
            ))),
        }
    }
}
