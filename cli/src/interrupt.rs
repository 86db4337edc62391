//! Ctrl-C: the first asks the work to end at its next step, the second ends the process.

use std::sync::atomic::{AtomicBool, Ordering};

use engine::Error;

use crate::demo;
use crate::error::CliError;
use crate::exit::ExitCode;

static REQUESTED: AtomicBool = AtomicBool::new(false);

/// Starts listening; `on_first` runs at the first Ctrl-C, on a thread of its own. SIGTERM and
/// SIGHUP count as Ctrl-C.
///
/// A process that was started with SIGHUP ignored (`nohup`) or SIGINT (a background job of a
/// script) keeps ignoring it, and listens to the others.
pub(crate) fn listen(on_first: impl Fn() + Send + 'static) {
    let handler = move || {
        if REQUESTED.swap(true, Ordering::SeqCst) {
            demo::discard();
            std::process::exit(ExitCode::Interrupted as i32);
        }
        on_first();
    };
    #[cfg(unix)]
    let ignored = ignored::find();
    // Without a handler a signal ends the process at once, which leaves no partial file either,
    // since files appear by a rename.
    let _ = ctrlc::set_handler(handler);
    #[cfg(unix)]
    ignored::ignore(ignored);
}

#[cfg(unix)]
mod ignored {
    use std::ptr;

    /// Signals that whoever starts a process may want it not to heed.
    const SIGNALS: [libc::c_int; 2] = [libc::SIGINT, libc::SIGHUP];

    /// Those of them that this process was started to ignore.
    pub(super) fn find() -> Vec<libc::c_int> {
        let is_ignored = |signal: &libc::c_int| {
            // SAFETY: all zeros is a value of this C structure.
            let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
            // SAFETY: with no new action the call only writes to `action`.
            let found = unsafe { libc::sigaction(*signal, ptr::null(), &raw mut action) };
            found == 0 && action.sa_sigaction == libc::SIG_IGN
        };
        SIGNALS.into_iter().filter(is_ignored).collect()
    }

    /// Ignores these again.
    pub(super) fn ignore(signals: Vec<libc::c_int>) {
        for signal in signals {
            // SAFETY: no handler of Rust's runs for a signal that is ignored.
            unsafe { libc::signal(signal, libc::SIG_IGN) };
        }
    }
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
        Err(Error::Interrupted.into())
    } else {
        Ok(())
    }
}
