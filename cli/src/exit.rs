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

impl ExitCode {
    /// All of them.
    pub(crate) const ALL: [Self; 7] = [
        Self::Done,
        Self::Failure,
        Self::Usage,
        Self::BadModel,
        Self::NoMemory,
        Self::NoDevice,
        Self::Interrupted,
    ];

    /// The meaning of the code, for the manual.
    pub(crate) const fn meaning(self) -> &'static str {
        match self {
            Self::Done => "Done.",
            Self::Failure => "Another failure.",
            Self::Usage => "Wrong usage, or a prompt file with faults in it.",
            Self::BadModel => "A model file, or another file that is read, is missing or bad.",
            Self::NoMemory => "It would not fit in memory.",
            Self::NoDevice => "The backend or device is not available.",
            Self::Interrupted => "Interrupted.",
        }
    }
}

impl From<ExitCode> for std::process::ExitCode {
    fn from(code: ExitCode) -> Self {
        Self::from(code as u8)
    }
}
