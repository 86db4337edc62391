//! The libraries' errors in the words of the command line: what went wrong, and the flag, variable
//! or command that helps.

use burn::tensor::FloatDType;
use engine::Error;
use engine::bytes::format_bytes;

/// The line for a download that failed.
pub(crate) fn download(error: &hub::Error) -> String {
    use hub::Error;
    let advice = match error {
        Error::Endpoint(address) => {
            return format!("HF_ENDPOINT is '{address}': it must begin with http:// or https://");
        }
        Error::Offline => return "HF_HUB_OFFLINE is set: unset it to download".to_owned(),
        Error::Occupied {
            path,
            found,
            expected,
        } => {
            // With the exact numbers, since two sizes may round to the same.
            return format!(
                "{} is there with {found} bytes ({}), and the published file has {expected} bytes \
                 ({}): move it away, or name another folder with --models",
                path.display(),
                format_bytes(*found),
                format_bytes(*expected)
            );
        }
        Error::Cancelled => {
            return "interrupted; run the same command again to go on from here".to_owned();
        }
        Error::Unreachable { .. } => {
            "; check the network, the proxy (HTTPS_PROXY) or the mirror (HF_ENDPOINT), and run the \
             same command again to go on from here"
        }
        Error::Unauthorized { .. } => "; set HF_TOKEN to a token that may read it",
        Error::Forbidden { .. } => ", and set HF_TOKEN to a token of that account",
        Error::NoFile { .. } => {
            ": try another --variant, or put a file of that kind into the models folder by hand"
        }
        Error::Checksum { .. } => ", so that the same command downloads it anew",
        Error::Token { .. }
        | Error::NoRepository { .. }
        | Error::Status { .. }
        | Error::Answer { .. }
        | Error::Busy { .. }
        | Error::Write { .. }
        | Error::Read { .. } => "",
    };
    format!("{error}{advice}")
}

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
