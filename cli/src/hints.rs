//! The libraries' errors in the words of the command line: what went wrong, and the flag, variable
//! or command that helps.

mod download;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod libraries;
mod load;
mod record;

use backends::DeviceError;
use backends::device::Library;
use burn::tensor::FloatDType;
use engine::Error;
use engine::bytes::format_bytes;
use engine::events::{Note, Status};
use model::family::QWEN_IMAGE;

use crate::plan;

pub(crate) use download::download;
use load::flag;
pub(crate) use load::write;
pub(crate) use record::{foreign, not_taken};

/// The line for an error of the engine.
pub(crate) fn message(error: &Error) -> String {
    match error {
        Error::Load(error) => load::load(error),
        Error::HostMemory { needed, available } => format!(
            "the prompts' embeddings and the latents of so many images take {} of host memory, \
             and {} are free: split the prompt file",
            format_bytes(*needed),
            format_bytes(*available)
        ),
        Error::DeviceFails(message) => format!(
            "the device fails, and nothing can be made of what it computed: {message}; run again, \
             and if that fails too, update its driver or choose another --backend"
        ),
        Error::Incomplete { reason, .. } => format!("{error}: {}", record::incomplete(reason)),
        Error::Memory {
            what,
            needed,
            available,
            limit,
            remedies,
            peak,
        } => format!(
            "the {what} needs {} of device memory and {} {}: {}",
            format_bytes(*needed),
            format_bytes(*available),
            limit.map_or_else(
                || "is free".to_owned(),
                |name| format!("may be used ({name})")
            ),
            plan::remedies(remedies, *peak)
        ),
        Error::NoModel {
            component,
            folder,
            file,
        } => {
            let flag = flag(*component);
            match (folder, file) {
                (Some(_), _) => format!("{error}: download it there, or name it with {flag}"),
                (None, Some(_)) => format!("{error}: name one with {flag}"),
                (None, None) => format!("{error}: name it with {flag}"),
            }
        }
        Error::NoTokenizer { folder } => {
            let place = match folder {
                Some(folder) => format!("put them into {}", folder.join("tokenizer").display()),
                None => "put them into a folder".to_owned(),
            };
            format!(
                "no tokenizer: download vocab.json, merges.txt and tokenizer_config.json from the \
                 `tokenizer` folder of the Qwen/Qwen-Image model repository and {place}, or name \
                 their folder with --tokenizer"
            )
        }
        Error::Scheduler { solver, .. } => {
            let flag = if *solver {
                "--sampler euler"
            } else {
                "--schedule dynamic"
            };
            format!("{error}; with {flag}, or another, the folder's is not used")
        }
        Error::RecordedLora { weight, .. } => {
            format!("{error}: name it with --lora FILE:{weight}")
        }
        Error::WrongLightning { steps, file, other } => format!(
            "--lightning {steps}: {} is for {other} steps",
            file.display()
        ),
        Error::NoLightning { steps } => format!(
            "--lightning {steps} needs the Lightning LoRA for {steps} steps: name it with \
             --lora, or a folder that has it in its `loras` with --models"
        ),
        Error::NoStep { strength, steps } => {
            format!("--strength {strength} leaves none of {steps} steps to run")
        }
        Error::NoSchedule { schedule, fault } => format!("--schedule {schedule}: {fault}"),
        Error::NoBf16 => {
            "--dtype bf16: this device does not compute in bf16; use --dtype f32".to_owned()
        }
        Error::NotFinitePrediction { dtype, .. } if *dtype != FloatDType::F32 => {
            format!("{error}: try --dtype f32")
        }
        Error::Device(error) => device(error),
        error => error.to_string(),
    }
}

/// Says why a device cannot be used, and which flag or build helps.
pub(crate) fn device(error: &DeviceError) -> String {
    match error {
        DeviceError::NotCompiledIn(kind) => format!("{error}: build with `--features {kind}`"),
        DeviceError::MissingLibrary {
            library: Library::CudaDriver | Library::GpuDriver,
            ..
        } => format!("{error}, or use --backend flex for the processor"),
        DeviceError::Nothing => {
            format!("{error}: build with `--features flex` for the processor")
        }
        DeviceError::UnknownBackend(_)
        | DeviceError::MissingLibrary { .. }
        | DeviceError::Driver { .. }
        | DeviceError::NoDevice(_)
        | DeviceError::NoSuchDevice { .. } => error.to_string(),
    }
}

/// The line for something that the user should know.
pub(crate) fn note(note: &Note) -> String {
    match note {
        Note::LoraLeftOut { tag, .. } => format!("{note} (--lora {} adds one)", tag.value()),
        Note::LightningAssumed { steps } => format!(
            "--lightning {steps}: no LoRA's name says that it is the Lightning LoRA for {steps} \
             steps; one named by --lora is taken for it"
        ),
        Note::LightningMisused { steps, .. } => {
            let tip = if QWEN_IMAGE.lightning.steps.contains(steps) {
                format!("--lightning {steps} sets all of it")
            } else {
                format!("--steps {steps} --cfg-scale 1 --schedule shift=3 fits it")
            };
            format!("{note}; {tip}")
        }
        Note::FewLevels { .. } => format!("--{note}"),
        Note::NoFp8Products => "no FP8 products with this device and number format: --fp8-compute \
             rounds as they would, and gains nothing"
            .to_owned(),
        note => note.to_string(),
    }
}

/// The line for how the work goes; `total` is the number of images that were asked for.
pub(crate) fn status(status: &Status, total: usize) -> String {
    match status {
        Status::LatentsKept { images } => format!(
            "{images} of {total} images were denoised by an earlier run, and are only decoded"
        ),
        Status::DecodingTheRest { .. } => format!("{status}; Ctrl-C ends that too"),
        status => status.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use backends::BackendKind;

    use super::*;

    #[test]
    fn a_missing_device_comes_with_a_way_out() {
        let missing = |library| DeviceError::MissingLibrary {
            kind: BackendKind::Cuda,
            library,
        };
        for (error, line) in [
            (
                DeviceError::NotCompiledIn(BackendKind::Rocm),
                "backend 'rocm' is not compiled in: build with `--features rocm`",
            ),
            (
                missing(Library::CudaDriver),
                "backend 'cuda': the CUDA driver (libcuda) not found: install the NVIDIA driver, \
                 or use --backend flex for the processor",
            ),
            (
                missing(Library::CudaCompiler),
                "backend 'cuda': the CUDA run-time compiler (libnvrtc) not found: install the CUDA \
                 toolkit (12.8 or later)",
            ),
            (
                DeviceError::Nothing,
                "no backend of this build has a device: build with `--features flex` for the \
                 processor",
            ),
        ] {
            assert_eq!(message(&Error::Device(error)), line);
        }
    }
}
