//! A panic below (a driver that gives up, a mistake of ours) becomes one line and an exit code.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook};
use std::sync::OnceLock;

use crate::error::CliError;

/// The first panic of any thread: a device thread's says more than that of the thread which then
/// waits for it in vain.
static FIRST: OnceLock<String> = OnceLock::new();

/// Runs `work`; a panic ends it with [`CliError::OutOfMemory`] or [`CliError::Internal`]. With
/// `RUST_BACKTRACE` set, panics are printed in full as well.
///
/// # Errors
/// What `work` returns, or its panic.
pub(crate) fn caught(work: impl FnOnce() -> Result<(), CliError>) -> Result<(), CliError> {
    let previous = std::panic::take_hook();
    let in_full = std::env::var_os("RUST_BACKTRACE").is_some();
    set_hook(Box::new(move |panic| {
        let place = panic
            .location()
            .map_or_else(String::new, |place| format!(" ({place})"));
        let _ = FIRST.set(message(panic.payload()) + &place);
        if in_full {
            previous(panic);
        }
    }));
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|payload| {
        let message = FIRST
            .get()
            .cloned()
            .unwrap_or_else(|| message(payload.as_ref()));
        Err(classify(message))
    })
}

/// Burn reports a device out of memory by a panic.
fn classify(message: String) -> CliError {
    let words = message.to_ascii_lowercase().replace('_', " ");
    if words.contains("out of memory") {
        CliError::OutOfMemory(message)
    } else {
        CliError::Internal(message)
    }
}

fn message(payload: &(dyn Any + Send)) -> String {
    payload
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| payload.downcast_ref::<&str>().copied())
        .unwrap_or("a panic without a message")
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::classify;
    use crate::exit::ExitCode;

    #[test]
    fn a_device_out_of_memory_has_its_own_exit_code() {
        for (message, code) in [
            ("CUDA_ERROR_OUT_OF_MEMORY: 12 GB", ExitCode::NoMemory),
            ("allocation failed: Out of memory", ExitCode::NoMemory),
            ("index out of bounds", ExitCode::Failure),
        ] {
            assert_eq!(classify(message.to_owned()).exit_code(), code, "{message}");
        }
    }
}
