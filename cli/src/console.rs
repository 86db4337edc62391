//! Lines on stdout and stderr. A closed pipe is never a panic, and text from files or flags never
//! reaches the terminal with control characters in it.

use std::io::{self, Write};

use crate::args::Verbosity;
use crate::error::CliError;

/// Writes messages to stderr as far as the user wants them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Console {
    verbosity: Verbosity,
}

impl Console {
    /// A console for this much talk.
    pub(crate) const fn new(verbosity: Verbosity) -> Self {
        Self { verbosity }
    }

    /// How much is said.
    pub(crate) const fn verbosity(self) -> Verbosity {
        self.verbosity
    }

    /// A line that `--quiet` silences.
    pub(crate) fn note(self, line: &str) {
        if self.verbosity >= Verbosity::Normal {
            stderr_line(line);
        }
    }

    /// A line that only `--verbose` shows.
    pub(crate) fn detail(self, line: &str) {
        if self.verbosity >= Verbosity::Verbose {
            stderr_line(line);
        }
    }
}

/// One line on stderr.
pub(crate) fn stderr_line(line: &str) {
    // With stderr gone there is nobody left to tell.
    let _ = writeln!(io::stderr().lock(), "{}", printable(line));
}

/// Results on stdout. A reader that closed the pipe has seen enough: no error.
///
/// # Errors
/// [`CliError::Stdout`] for any other failure.
pub(crate) fn stdout(text: &str) -> Result<(), CliError> {
    let mut stdout = io::stdout().lock();
    match stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.flush())
    {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(CliError::Stdout(error)),
        _ => Ok(()),
    }
}

/// The width of the terminal that stderr is; the usual one where that is not known.
pub(crate) fn columns() -> usize {
    let size = terminal_size::terminal_size_of(io::stderr());
    match size {
        Some((terminal_size::Width(columns), _)) if columns > 0 => usize::from(columns),
        _ => 80,
    }
}

/// `text` as one line without control characters, which a terminal would obey.
pub(crate) fn printable(text: &str) -> String {
    text.trim_end()
        .chars()
        .map(|c| match c {
            '\n' | '\r' | '\t' => ' ',
            c if c.is_control() => char::REPLACEMENT_CHARACTER,
            c => c,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::printable;

    #[test]
    fn escape_sequences_and_line_ends_are_taken_out() {
        assert_eq!(
            printable("a\x1b[2Jb\nc\u{9b}d\n"),
            "a\u{fffd}[2Jb c\u{fffd}d"
        );
    }
}
