//! The exit codes that scripts rely on.

/// How the program ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum ExitCode {
    /// Everything asked for was done.
    Done = 0,
    /// Something failed that none of the codes below names.
    Failure = 1,
    /// The command line is wrong.
    Usage = 2,
    /// A model file or the tokenizer is missing, broken or of another model.
    BadModel = 3,
    /// A model would not fit in memory.
    NoMemory = 4,
    /// The backend or the device is not available.
    NoDevice = 5,
    /// Ended by Ctrl-C, as a shell reports it (128 + SIGINT).
    Interrupted = 130,
}

impl From<ExitCode> for std::process::ExitCode {
    fn from(code: ExitCode) -> Self {
        Self::from(code as u8)
    }
}
