//! The libraries' errors in the words of the command line: what went wrong, and the flag, variable
//! or command that helps.

mod download;
mod load;
mod record;

use backends::DeviceError;
use backends::device::Library;
use burn::tensor::FloatDType;
use engine::Error;
use engine::bytes::format_bytes;

pub(crate) use download::download;
pub(crate) use load::{flag, write};
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
