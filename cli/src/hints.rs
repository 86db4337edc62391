//! The libraries' errors in the words of the command line: what went wrong, and the flag, variable
//! or command that helps.

mod download;

use burn::tensor::FloatDType;
use engine::Error;
use engine::bytes::format_bytes;

pub(crate) use download::download;

/// The line for an error of the engine.
pub(crate) fn message(error: &Error) -> String {
    match error {
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
        Error::NotFinitePrediction { dtype, .. } if *dtype != FloatDType::F32 => {
            format!("{error}: try --dtype f32")
        }
        error => error.to_string(),
    }
}
