//! Everything that can end a command early, and the exit code each means.

use std::path::{Path, PathBuf};

use burn::tensor::FloatDType;
use loader::LoadError;
use loader::published::{WriteError, WriteFault};
use model::pipeline::PipelineError;

use crate::args::format_bytes;
use crate::bad_lines::BadLines;
use crate::exit::ExitCode;
use crate::hints;
use crate::output::atomic_file;

/// Why a command failed: one line, and an exit code.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CliError {
    /// Flags that parse but make no sense.
    #[error("{0}")]
    Usage(String),
    /// Lines of a prompt file cannot be used.
    #[error(transparent)]
    PromptFile(#[from] BadLines),
    /// A checkpoint is missing, broken or another model's.
    #[error(transparent)]
    Load(LoadError),
    /// A checkpoint's sizes are no model of ours.
    #[error("{}: {source}", path.display())]
    Config {
        /// The checkpoint.
        path: PathBuf,
        /// What is wrong.
        source: model::ConfigError,
    },
    /// A model file other than a checkpoint is missing or does not fit.
    #[error("{0}")]
    ModelFile(String),
    /// An image to start from, or its mask, cannot be read.
    #[error("{}: {reason}", path.display())]
    ImageFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A file that was given to work from is missing or bad.
    #[error("{0}")]
    Input(String),
    /// The tokenizer cannot be read.
    #[error(transparent)]
    Tokenizer(#[from] model::TokenizerError),
    /// A model does not fit in device memory.
    #[error(
        "the {what} needs {} of device memory and {} {}: {advice}",
        format_bytes(*needed),
        format_bytes(*available),
        limit.map_or_else(|| "is free".to_owned(), |name| format!("may be used ({name})"))
    )]
    Memory {
        /// The model.
        what: String,
        /// Bytes it takes.
        needed: u64,
        /// Bytes there are.
        available: u64,
        /// What the user's limit was given by, where that is what binds.
        limit: Option<&'static str>,
        /// What to do.
        advice: String,
    },
    /// What waits in host memory is more than that.
    #[error(
        "the prompts' embeddings and the latents of so many images take {} of host memory, and \
         {} are free: split the prompt file",
        format_bytes(*needed), format_bytes(*available)
    )]
    HostMemory {
        /// Bytes they take.
        needed: u64,
        /// Bytes there are.
        available: u64,
    },
    /// The device ran out of memory on the way.
    #[error("the device is out of memory; make the image smaller: {0}")]
    OutOfMemory(String),
    /// Something went wrong on the device: a kernel that its driver does not take, or worse.
    #[error(
        "the device fails, and nothing can be made of what it computed: {0}; run again, and if \
         that fails too, update its driver or choose another --backend"
    )]
    DeviceFails(String),
    /// A model's memory is still in use after the model was dropped.
    #[error(
        "the {what} was dropped, and {} of device memory are still in use that were free before \
         it was loaded: a leak, or another program's", format_bytes(*bytes)
    )]
    Leak {
        /// The model.
        what: String,
        /// Bytes beyond what was in use before.
        bytes: u64,
    },
    /// The backend or device cannot be used.
    #[error(transparent)]
    Device(#[from] backends::DeviceError),
    /// Computing came to no good end.
    #[error(transparent)]
    Pipeline(PipelineError),
    /// The text encoder's numbers went out of range, which are small in a sound one.
    #[error(
        "{}: the text encoder gave embeddings that are not finite (NaN or infinity): the file is \
         damaged",
        .0.display()
    )]
    NotFiniteEmbeds(PathBuf),
    /// The transformer's numbers went out of range; the image would be black.
    #[error(
        "{}: the transformer gave numbers that are not finite (NaN or infinity) at step {step}: {}",
        path.display(), not_finite_causes(*loras, *dtype)
    )]
    NotFinitePrediction {
        /// The transformer's file.
        path: PathBuf,
        /// Counted from 1.
        step: usize,
        /// Whether there are LoRAs beside it.
        loras: bool,
        /// What it was computed in.
        dtype: FloatDType,
    },
    /// The encoder's numbers went out of range.
    #[error("the encoded init image is not finite (NaN or infinity): the VAE file is damaged")]
    NotFiniteLatents,
    /// The decoder's numbers went out of range.
    #[error("the decoded image is not finite (NaN or infinity): the VAE file is damaged")]
    NotFinite,
    /// A file cannot be written.
    #[error("cannot write {}: {reason}", path.display())]
    Output {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// A file cannot be downloaded.
    #[error("{}", hints::download(.0))]
    Download(#[from] hub::Error),
    /// Stdout is full or broken.
    #[error("cannot write to stdout: {0}")]
    Stdout(std::io::Error),
    /// Ctrl-C.
    #[error("interrupted; nothing was left half-written")]
    Interrupted,
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
    /// A mistake of this program's.
    #[error("internal error: {0}")]
    Internal(String),
}

impl CliError {
    /// The exit code that says this.
    pub(crate) fn exit_code(&self) -> ExitCode {
        match self {
            Self::Usage(_)
            | Self::PromptFile(_)
            | Self::Device(backends::DeviceError::UnknownBackend(_)) => ExitCode::Usage,
            Self::Load(LoadError::OutOfMemory { .. } | LoadError::HostMemory { .. }) => {
                ExitCode::NoMemory
            }
            Self::Load(_)
            | Self::Config { .. }
            | Self::ModelFile(_)
            | Self::ImageFile { .. }
            | Self::Input(_)
            | Self::Tokenizer(_)
            | Self::NotFiniteEmbeds(_)
            | Self::NotFinite
            | Self::NotFiniteLatents
            | Self::NotFinitePrediction {
                loras: false,
                dtype: FloatDType::F32,
                ..
            }
            | Self::Pipeline(PipelineError::TokenOutOfRange { .. }) => ExitCode::BadModel,
            Self::Memory { .. } | Self::HostMemory { .. } | Self::OutOfMemory(_) => {
                ExitCode::NoMemory
            }
            Self::Device(_) => ExitCode::NoDevice,
            Self::Interrupted | Self::InterruptedRun { .. } => ExitCode::Interrupted,
            Self::Download(error) => of_download(error),
            Self::Pipeline(_)
            | Self::NotFinitePrediction { .. }
            | Self::DeviceFails(_)
            | Self::Leak { .. }
            | Self::Output { .. }
            | Self::Stdout(_)
            | Self::Internal(_) => ExitCode::Failure,
        }
    }

    /// The lines to print after the first one.
    pub(crate) fn following(&self) -> Vec<String> {
        match self {
            Self::PromptFile(bad) => bad.following(),
            _ => Vec::new(),
        }
    }

    /// What is wrong with an image's file.
    pub(crate) fn image(path: &Path, reason: impl Into<String>) -> Self {
        Self::ImageFile {
            path: path.to_owned(),
            reason: reason.into(),
        }
    }

    /// For `map_err` on a checkpoint's configuration.
    pub(crate) fn config(path: &Path) -> impl FnOnce(model::ConfigError) -> Self {
        let path = path.to_owned();
        move |source| Self::Config { path, source }
    }
}

impl From<LoadError> for CliError {
    fn from(error: LoadError) -> Self {
        if error.is_cancelled() {
            Self::Interrupted
        } else {
            Self::Load(error)
        }
    }
}

impl From<WriteError> for CliError {
    fn from(error: WriteError) -> Self {
        match error.fault {
            WriteFault::Cancelled => Self::Interrupted,
            WriteFault::Io(source) => atomic_file::failed(&error.path, source),
            WriteFault::NoSpace { needed, free } => Self::Output {
                path: error.path,
                reason: format!(
                    "{} are needed and {} are free on that disk; make room, or name a folder on \
                     another disk",
                    format_bytes(needed),
                    format_bytes(free)
                ),
            },
            fault => Self::Output {
                path: error.path,
                reason: fault.to_string(),
            },
        }
    }
}

impl From<PipelineError> for CliError {
    fn from(error: PipelineError) -> Self {
        match error {
            PipelineError::Cancelled => Self::Interrupted,
            error => Self::Pipeline(error),
        }
    }
}

/// The exit code of a download that failed.
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

/// What may make a transformer's numbers infinite, as an advice.
fn not_finite_causes(loras: bool, dtype: FloatDType) -> String {
    let mut causes = "the file is damaged".to_owned();
    if loras {
        causes.push_str(", or a LoRA beside it is too strong");
    }
    if dtype != FloatDType::F32 {
        causes.push_str(", or the compute dtype is too narrow: try --dtype f32");
    }
    causes
}

#[cfg(test)]
mod tests {
    use burn::tensor::FloatDType;

    use super::CliError;
    use crate::exit::ExitCode;

    #[test]
    fn lack_of_memory_is_told_with_both_figures() {
        let error = CliError::Memory {
            what: "transformer".to_owned(),
            needed: 24 << 30,
            available: 16 << 30,
            limit: Some("--vram-limit"),
            advice: "raise the limit".to_owned(),
        };
        assert_eq!(error.exit_code(), ExitCode::NoMemory);
        assert_eq!(
            error.to_string(),
            "the transformer needs 24.00 GiB of device memory and 16.00 GiB may be used \
             (--vram-limit): raise the limit"
        );
    }

    #[test]
    fn no_other_dtype_is_advised_than_the_one_in_use() {
        let told = |loras, dtype| {
            let error = CliError::NotFinitePrediction {
                path: "t.safetensors".into(),
                step: 1,
                loras,
                dtype,
            };
            (error.exit_code(), error.to_string())
        };
        // Nothing but the file is left to blame.
        let (code, f32) = told(false, FloatDType::F32);
        assert_eq!(code, ExitCode::BadModel);
        assert!(f32.starts_with("t.safetensors: "), "{f32}");
        assert!(!f32.contains("--dtype") && !f32.contains("LoRA"), "{f32}");
        let (code, bf16) = told(true, FloatDType::BF16);
        assert_eq!(code, ExitCode::Failure);
        assert!(
            bf16.contains("--dtype f32") && bf16.contains("LoRA"),
            "{bf16}"
        );
    }

    #[test]
    fn an_interruption_is_one_wherever_it_is_noticed() {
        for error in [
            CliError::from(loader::LoadError::Cancelled),
            CliError::from(model::pipeline::PipelineError::Cancelled),
            CliError::Interrupted,
        ] {
            assert_eq!(error.exit_code(), ExitCode::Interrupted);
            assert!(error.to_string().starts_with("interrupted"));
        }
    }
}
