//! Everything that can end a call of this crate early.
//!
//! Messages are one line and name no flag: a front end that has flags adds what to type.

use std::path::{Path, PathBuf};

use burn::tensor::FloatDType;
use loader::{Component, LoadError};
use model::pipeline::PipelineError;

use crate::bytes::format_bytes;
use crate::plan::{Remedy, remedies_in_words};
use crate::record::Incomplete;

/// The longest message of a device that still is one clear line.
const LONGEST: usize = 400;

/// Why a call failed, in one line.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A value of the request is out of range, or contradicts another one.
    #[error("{0}")]
    Request(String),
    /// A checkpoint is missing, broken or another model's.
    #[error(transparent)]
    Load(LoadError),
    /// A checkpoint's sizes are those of no model that is computed here.
    #[error("{}: {source}", path.display())]
    Config {
        /// The checkpoint.
        path: PathBuf,
        /// The fault.
        source: model::ConfigError,
    },
    /// A model file other than a checkpoint is missing or does not fit.
    #[error("{0}")]
    ModelFile(String),
    /// A model is not named, and not in the folder or file of all models.
    #[error(
        "{}no {component}",
        source_of_all(folder.as_deref(), file.as_deref())
    )]
    NoModel {
        /// The model.
        component: Component,
        /// The folder of all models.
        folder: Option<PathBuf>,
        /// The file of all models.
        file: Option<PathBuf>,
    },
    /// There is no tokenizer.
    #[error(
        "no tokenizer: it is vocab.json, merges.txt and tokenizer_config.json of the `tokenizer` \
         folder of the Qwen/Qwen-Image model repository"
    )]
    NoTokenizer {
        /// The folder of all models.
        folder: Option<PathBuf>,
    },
    /// A models folder has a scheduler that is not computed here.
    #[error("{}: {source}", path.display())]
    Scheduler {
        /// The scheduler's file.
        path: PathBuf,
        /// The part that is not computed.
        source: model::ConfigError,
        /// True if that is the solver, and not the noise levels.
        solver: bool,
    },
    /// A LoRA that an image was made with is not found by its name.
    #[error("{}: it was made with the LoRA {file}, {fault}", image.display())]
    RecordedLora {
        /// The image's file.
        image: PathBuf,
        /// The name of the LoRA's file.
        file: String,
        /// The LoRA's weight.
        weight: f64,
        /// Why it cannot be taken.
        fault: String,
    },
    /// A LoRA that is named is the Lightning LoRA for other steps.
    #[error("a Lightning LoRA for {steps} steps is wanted: {} is for {other} steps", file.display())]
    WrongLightning {
        /// The steps that are wanted.
        steps: usize,
        /// The LoRA's file.
        file: PathBuf,
        /// The steps that it is for.
        other: usize,
    },
    /// There is no Lightning LoRA.
    #[error("the Lightning LoRA for {steps} steps is not named, and there is no models folder")]
    NoLightning {
        /// The steps that are wanted.
        steps: usize,
    },
    /// So little of an image to start from is changed that no step is left.
    #[error("a strength of {strength} leaves none of {steps} steps to run")]
    NoStep {
        /// How much is changed.
        strength: f64,
        /// The steps of the schedule.
        steps: usize,
    },
    /// A schedule has no noise levels for the image.
    #[error("schedule {schedule}: {fault}")]
    NoSchedule {
        /// The schedule.
        schedule: String,
        /// Why.
        fault: String,
    },
    /// The device does not compute in bf16, which is asked for.
    #[error("this device does not compute in bf16")]
    NoBf16,
    /// The caller refused something that it was asked about.
    #[error(transparent)]
    Refused(Box<dyn std::error::Error + Send + Sync>),
    /// An image to start from, or its mask, cannot be read.
    #[error("{}: {reason}", path.display())]
    Image {
        /// The file.
        path: PathBuf,
        /// The fault.
        reason: String,
    },
    /// A file that was given to work from is missing or bad.
    #[error("{0}")]
    Input(String),
    /// An image cannot be made again from its record alone.
    #[error("{}: {reason}", path.display())]
    Incomplete {
        /// The image's file.
        path: PathBuf,
        /// The setting that is missing, or differs.
        reason: Incomplete,
    },
    /// The tokenizer cannot be read.
    #[error(transparent)]
    Tokenizer(#[from] model::TokenizerError),
    /// A model does not fit in device memory.
    #[error(
        "the {what} needs {} of device memory and {} {}: {}",
        format_bytes(*needed),
        format_bytes(*available),
        limit.map_or_else(|| "is free".to_owned(), |name| format!("may be used ({name})")),
        remedies_in_words(remedies, *peak)
    )]
    Memory {
        /// The model.
        what: String,
        /// The bytes that it takes.
        needed: u64,
        /// The bytes that there are.
        available: u64,
        /// The name of the limit, where it is the limit that binds.
        limit: Option<&'static str>,
        /// Remedies; each was tried, and any of them is enough.
        remedies: Vec<Remedy>,
        /// The bytes that a device needs to do all phases, where nothing helps.
        peak: u64,
    },
    /// The embeddings and latents that wait are more than the host has memory for.
    #[error(
        "the prompts' embeddings and the latents of so many images take {} of host memory, and \
         {} are free: ask for fewer at once",
        format_bytes(*needed), format_bytes(*available)
    )]
    HostMemory {
        /// The bytes that they take.
        needed: u64,
        /// The bytes that there are.
        available: u64,
    },
    /// The device ran out of memory on the way.
    #[error("the device is out of memory; make the image smaller: {0}")]
    OutOfMemory(String),
    /// Something went wrong on the device: a kernel that its driver does not take, or worse.
    #[error(
        "the device fails, and nothing can be made of what it computed: {0}; run again, and if \
         that fails too, update its driver or choose another backend"
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
    /// The computation failed.
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
        /// The step, counted from 1.
        step: usize,
        /// True if there are LoRAs beside it.
        loras: bool,
        /// The number format of the computation.
        dtype: FloatDType,
    },
    /// The VAE encoder's numbers went out of range.
    #[error("the encoded init image is not finite (NaN or infinity): the VAE file is damaged")]
    NotFiniteLatents,
    /// The VAE decoder's numbers went out of range.
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
    /// The caller asked the work to end.
    #[error("interrupted; nothing was left half-written")]
    Interrupted,
    /// A mistake in this crate.
    #[error("internal error: {0}")]
    Internal(String),
}

impl Error {
    /// Says what is wrong with an image's file.
    pub fn image(path: &Path, reason: impl Into<String>) -> Self {
        Self::Image {
            path: path.to_owned(),
            reason: reason.into(),
        }
    }

    /// Names the checkpoint of a configuration that is wrong, for `map_err`.
    pub fn config(path: &Path) -> impl FnOnce(model::ConfigError) -> Self {
        let path = path.to_owned();
        move |source| Self::Config { path, source }
    }

    /// Makes an error of a device's own message: [`Self::OutOfMemory`] or [`Self::DeviceFails`].
    pub fn device_fails(message: &str) -> Self {
        let message = one_line(message);
        Self::out_of_memory(&message).unwrap_or(Self::DeviceFails(message))
    }

    /// Makes [`Self::OutOfMemory`] of a message that says so. Burn reports a device without memory
    /// by a panic.
    pub fn out_of_memory(message: &str) -> Option<Self> {
        let words = message.to_ascii_lowercase().replace('_', " ");
        words
            .contains("out of memory")
            .then(|| Self::OutOfMemory(message.to_owned()))
    }
}

/// Begins a message about what holds all models.
fn source_of_all(folder: Option<&Path>, file: Option<&Path>) -> String {
    folder
        .or(file)
        .map_or_else(String::new, |path| format!("{}: holds ", path.display()))
}

/// Joins a message of several lines into one, without a backtrace.
pub fn one_line(message: &str) -> String {
    let message = message
        .split_once("Backtrace")
        .map_or(message, |(before, _)| before);
    let words: Vec<&str> = message.split_whitespace().collect();
    words.join(" ").chars().take(LONGEST).collect()
}

impl From<LoadError> for Error {
    fn from(error: LoadError) -> Self {
        if error.is_cancelled() {
            Self::Interrupted
        } else {
            Self::Load(error)
        }
    }
}

impl From<PipelineError> for Error {
    fn from(error: PipelineError) -> Self {
        match error {
            PipelineError::Cancelled => Self::Interrupted,
            PipelineError::TimestepMissing(_) => Self::Internal(error.to_string()),
            PipelineError::Blocks(error) => match error.downcast::<LoadError>() {
                Ok(error) => Self::from(*error),
                Err(error) => Self::Internal(error.to_string()),
            },
            error => Self::Pipeline(error),
        }
    }
}

/// Names what may make a transformer's numbers infinite.
fn not_finite_causes(loras: bool, dtype: FloatDType) -> String {
    let mut causes = "the file is damaged".to_owned();
    if loras {
        causes.push_str(", or a LoRA beside it is too strong");
    }
    if dtype != FloatDType::F32 {
        causes.push_str(", or the compute dtype is too narrow");
    }
    causes
}

#[cfg(test)]
mod tests {
    use burn::tensor::FloatDType;

    use super::{Error, one_line};
    use crate::plan::Remedy;

    #[test]
    fn lack_of_memory_is_told_with_both_figures() {
        let error = Error::Memory {
            what: "transformer".to_owned(),
            needed: 24 << 30,
            available: 16 << 30,
            limit: Some("the limit"),
            remedies: vec![Remedy::VaeTiling],
            peak: 24 << 30,
        };
        assert_eq!(
            error.to_string(),
            "the transformer needs 24.00 GiB of device memory and 16.00 GiB may be used \
             (the limit): let the VAE work in tiles"
        );
    }

    #[test]
    fn only_what_is_in_use_is_blamed() {
        let told = |loras, dtype| {
            let error = Error::NotFinitePrediction {
                path: "t.safetensors".into(),
                step: 1,
                loras,
                dtype,
            };
            error.to_string()
        };
        let f32 = told(false, FloatDType::F32);
        assert!(f32.starts_with("t.safetensors: "), "{f32}");
        assert!(!f32.contains("dtype") && !f32.contains("LoRA"), "{f32}");
        let bf16 = told(true, FloatDType::BF16);
        assert!(bf16.contains("dtype") && bf16.contains("LoRA"), "{bf16}");
    }

    #[test]
    fn an_interruption_is_one_wherever_it_is_noticed() {
        for error in [
            Error::from(loader::LoadError::Cancelled),
            Error::from(model::pipeline::PipelineError::Cancelled),
        ] {
            assert!(matches!(error, Error::Interrupted), "{error}");
        }
    }

    #[test]
    fn a_device_out_of_memory_is_told_from_one_that_fails() {
        for message in [
            "CUDA_ERROR_OUT_OF_MEMORY: 12 GB",
            "allocation failed: Out of memory",
        ] {
            let error = Error::device_fails(message);
            assert!(matches!(error, Error::OutOfMemory(_)), "{message}");
        }
        let error = Error::device_fails("U8 is not a valid WgpuElement");
        assert!(matches!(error, Error::DeviceFails(_)));
    }

    #[test]
    fn a_message_becomes_one_line() {
        let long = "wgpu error: Validation Error\n\nCaused by:\n  no\nBacktrace:\n   0: main";
        assert_eq!(one_line(long), "wgpu error: Validation Error Caused by: no");
        assert_eq!(one_line(&"é".repeat(1000)).chars().count(), 400);
    }
}
