//! Ctrl-C: the first asks the work to end at its next step, the second ends the process.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::demo;
use crate::error::CliError;
use crate::exit::ExitCode;

static REQUESTED: AtomicBool = AtomicBool::new(false);

/// Starts listening; `on_first` runs at the first Ctrl-C, on a thread of its own. SIGTERM and
/// SIGHUP count as Ctrl-C.
///
/// A process started with one of them ignored (`nohup`, a background job of a script) keeps it
/// ignored; the others then end it at once, which leaves no partial file either, since files
/// appear by a rename.
pub(crate) fn listen(on_first: impl Fn() + Send + 'static) {
    // The error means just that: a handler other than the default is there, and stays.
    let _ = ctrlc::try_set_handler(move || {
        if REQUESTED.swap(true, Ordering::SeqCst) {
            demo::discard();
            std::process::exit(ExitCode::Interrupted as i32);
        }
        on_first();
    });
}

/// Whether Ctrl-C was pressed.
pub(crate) fn requested() -> bool {
    REQUESTED.load(Ordering::Relaxed)
}

/// Forgets a Ctrl-C that was heeded, so that what is left to save can be saved. The next one counts
/// as the first again.
pub(crate) fn forget() {
    REQUESTED.store(false, Ordering::SeqCst);
}

/// Ends the work if Ctrl-C was pressed.
///
/// # Errors
/// [`CliError::Interrupted`].
pub(crate) fn check() -> Result<(), CliError> {
    if requested() {
        Err(CliError::Interrupted)
    } else {
        Ok(())
    }
}
