//! Everything that can end a command early, and the exit code each means.

use backends::DeviceError;
use burn::tensor::FloatDType;
use engine::Error;
use engine::bytes::format_bytes;
use engine::files::atomic;
use loader::LoadError;
use loader::published::{WriteError, WriteFault};
use model::TokenizerError;
use model::pipeline::PipelineError;

use crate::bad_lines::BadLines;
use crate::exit::ExitCode;
use crate::hints;

/// Why a command failed: one line, and an exit code.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CliError {
    /// The flags can be read but make no sense together.
    #[error("{0}")]
    Usage(String),
    /// Lines of a prompt file cannot be used.
    #[error(transparent)]
    PromptFile(#[from] BadLines),
    /// The engine cannot do what was asked for.
    #[error("{}", hints::message(.0))]
    Engine(Error),
    /// A file cannot be downloaded.
    #[error("{}", hints::download(.0))]
    Download(#[from] hub::Error),
    /// Stdout is full or broken.
    #[error("cannot write to stdout: {0}")]
    Stdout(std::io::Error),
    /// Ctrl-C in a run of several images.
    #[error("interrupted: {done} of {total} images are done; {again}")]
    InterruptedRun {
        /// Images that are there.
        done: usize,
        /// Images that were asked for.
        total: usize,
        /// How the rest is made.
        again: String,
    },
}

impl CliError {
    /// Returns the exit code that says this.
    pub(crate) fn exit_code(&self) -> ExitCode {
        match self {
            Self::Usage(_) | Self::PromptFile(_) => ExitCode::Usage,
            Self::Engine(error) => of_engine(error),
            Self::InterruptedRun { .. } => ExitCode::Interrupted,
            Self::Download(error) => of_download(error),
            Self::Stdout(_) => ExitCode::Failure,
        }
    }

    /// Returns the lines to print after the first one.
    pub(crate) fn following(&self) -> Vec<String> {
        match self {
            Self::PromptFile(bad) => bad.following(),
            _ => Vec::new(),
        }
    }

    /// A file that was given to work from is missing or bad.
    pub(crate) fn input(message: String) -> Self {
        Error::Input(message).into()
    }

    /// A model file other than a checkpoint is missing or does not fit.
    pub(crate) fn model_file(message: String) -> Self {
        Error::ModelFile(message).into()
    }

    /// Something went wrong that is a mistake in this program.
    pub(crate) fn internal(message: String) -> Self {
        Error::Internal(message).into()
    }
}

/// Returns the exit code of an error of the engine.
fn of_engine(error: &Error) -> ExitCode {
    match error {
        Error::Request(_)
        | Error::NoBf16
        | Error::NoStep { .. }
        | Error::NoSchedule { .. }
        | Error::WrongLightning { .. }
        | Error::NoLightning { .. }
        | Error::Device(DeviceError::UnknownBackend(_)) => ExitCode::Usage,
        Error::Load(LoadError::OutOfMemory { .. } | LoadError::HostMemory { .. }) => {
            ExitCode::NoMemory
        }
        Error::Load(_)
        | Error::Config { .. }
        | Error::ModelFile(_)
        | Error::NoModel { .. }
        | Error::NoTokenizer { .. }
        | Error::Scheduler { .. }
        | Error::RecordedLora { .. }
        | Error::Image { .. }
        | Error::Input(_)
        | Error::Incomplete { .. }
        | Error::Tokenizer(_)
        | Error::NotFiniteEmbeds(_)
        | Error::NotFinite
        | Error::NotFiniteLatents
        | Error::NotFinitePrediction {
            loras: false,
            dtype: FloatDType::F32,
            ..
        }
        | Error::Pipeline(PipelineError::TokenOutOfRange { .. }) => ExitCode::BadModel,
        Error::Memory { .. } | Error::HostMemory { .. } | Error::OutOfMemory(_) => {
            ExitCode::NoMemory
        }
        Error::Device(_) => ExitCode::NoDevice,
        Error::Interrupted => ExitCode::Interrupted,
        Error::Pipeline(_)
        | Error::NotFinitePrediction { .. }
        | Error::DeviceFails(_)
        | Error::Leak { .. }
        | Error::Output { .. }
        | Error::Refused(_)
        | Error::Internal(_) => ExitCode::Failure,
    }
}

/// Returns the exit code of a download that failed.
fn of_download(error: &hub::Error) -> ExitCode {
    use hub::Error;
    match error {
        Error::Endpoint(_) | Error::Offline | Error::Token { .. } => ExitCode::Usage,
        Error::NoRepository { .. }
        | Error::NoFile { .. }
        | Error::Checksum { .. }
        | Error::Occupied { .. } => ExitCode::BadModel,
        Error::Cancelled => ExitCode::Interrupted,
        _ => ExitCode::Failure,
    }
}

impl From<Error> for CliError {
    fn from(error: Error) -> Self {
        match error {
            Error::Refused(refusal) => match refusal.downcast::<Self>() {
                Ok(own) => *own,
                Err(refusal) => Self::Engine(Error::Refused(refusal)),
            },
            error => Self::Engine(error),
        }
    }
}

impl From<CliError> for Error {
    fn from(error: CliError) -> Self {
        match error {
            CliError::Engine(error) => error,
            error => Self::Refused(Box::new(error)),
        }
    }
}

impl From<LoadError> for CliError {
    fn from(error: LoadError) -> Self {
        Error::from(error).into()
    }
}

impl From<PipelineError> for CliError {
    fn from(error: PipelineError) -> Self {
        Error::from(error).into()
    }
}

impl From<TokenizerError> for CliError {
    fn from(error: TokenizerError) -> Self {
        Error::from(error).into()
    }
}

impl From<DeviceError> for CliError {
    fn from(error: DeviceError) -> Self {
        Error::from(error).into()
    }
}

impl From<WriteError> for CliError {
    fn from(error: WriteError) -> Self {
        match error.fault {
            WriteFault::Cancelled => Error::Interrupted.into(),
            WriteFault::Io(source) => atomic::failed(&error.path, source).into(),
            WriteFault::NoSpace { needed, free } => Error::Output {
                path: error.path,
                reason: format!(
                    "{} are needed and {} are free on that disk; make room, or name a folder on \
                     another disk",
                    format_bytes(needed),
                    format_bytes(free)
                ),
            }
            .into(),
            fault => Error::Output {
                path: error.path,
                reason: hints::write(&fault),
            }
            .into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::FloatDType;
    use engine::Error;
    use engine::plan::Remedy;

    use super::CliError;
    use crate::exit::ExitCode;

    #[test]
    fn lack_of_memory_has_its_own_exit_code() {
        let error = CliError::from(Error::Memory {
            what: "transformer".to_owned(),
            needed: 24 << 30,
            available: 16 << 30,
            limit: Some("--vram-limit"),
            remedies: vec![Remedy::VaeTiling],
            peak: 24 << 30,
        });
        assert_eq!(error.exit_code(), ExitCode::NoMemory);
        assert_eq!(
            error.to_string(),
            "the transformer needs 24.00 GiB of device memory and 16.00 GiB may be used \
             (--vram-limit): let the VAE work in tiles with --vae-tiling on"
        );
        for (message, code) in [
            ("allocation failed: Out of memory", ExitCode::NoMemory),
            ("U8 is not a valid WgpuElement", ExitCode::Failure),
        ] {
            let error = CliError::from(Error::device_fails(message));
            assert_eq!(error.exit_code(), code, "{message}");
        }
    }

    #[test]
    fn no_other_dtype_is_advised_than_the_one_in_use() {
        let told = |loras, dtype| {
            let error = CliError::from(Error::NotFinitePrediction {
                path: "t.safetensors".into(),
                step: 1,
                loras,
                dtype,
            });
            (error.exit_code(), error.to_string())
        };
        // Nothing but the file is left to blame.
        let (code, f32) = told(false, FloatDType::F32);
        assert_eq!(code, ExitCode::BadModel);
        assert!(!f32.contains("--dtype"), "{f32}");
        let (code, bf16) = told(true, FloatDType::BF16);
        assert_eq!(code, ExitCode::Failure);
        assert!(bf16.ends_with(": try --dtype f32"), "{bf16}");
    }

    #[test]
    fn an_interruption_is_one_wherever_it_is_noticed() {
        for error in [
            CliError::from(loader::LoadError::Cancelled),
            CliError::from(model::pipeline::PipelineError::Cancelled),
            CliError::from(Error::Interrupted),
        ] {
            assert_eq!(error.exit_code(), ExitCode::Interrupted);
            assert!(error.to_string().starts_with("interrupted"));
        }
    }
}
