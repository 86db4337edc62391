//! Ctrl-C: the first asks the work to end at its next step, the second ends the process.

use std::path::{Path, PathBuf};
use std::sync::{LazyLock, Mutex, PoisonError};

use engine::CancelToken;

use crate::error::CliError;
use crate::exit::ExitCode;

static TOKEN: LazyLock<CancelToken> = LazyLock::new(CancelToken::new);
/// The temporary folder that is removed when the process is ended at once.
static LEFT_OVER: Mutex<Option<PathBuf>> = Mutex::new(None);

/// Starts listening; `on_first` runs at the first Ctrl-C, on a thread of its own. SIGTERM and
/// SIGHUP count as Ctrl-C.
///
/// A process that was started with SIGHUP ignored (`nohup`) or SIGINT (a background job of a
/// script) keeps ignoring it, and listens to the others.
pub(crate) fn listen(on_first: impl Fn() + Send + 'static) {
    let handler = move || {
        if TOKEN.cancel() {
            remove_left_over();
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

/// Removes this temporary folder if a second Ctrl-C ends the process, which drops nothing then.
pub(crate) fn remove_at_exit(folder: Option<&Path>) {
    let mut left_over = LEFT_OVER.lock().unwrap_or_else(PoisonError::into_inner);
    *left_over = folder.map(Path::to_owned);
}

fn remove_left_over() {
    let left_over = LEFT_OVER.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(folder) = left_over.as_deref() {
        // Nobody is left to tell; the next process tries again.
        let _ = std::fs::remove_dir_all(folder);
    }
}

/// Tells whether Ctrl-C was pressed.
pub(crate) fn requested() -> bool {
    TOKEN.is_cancelled()
}

/// The token that Ctrl-C cancels. Where it is armed again, the next Ctrl-C counts as the first.
pub(crate) fn token() -> &'static CancelToken {
    &TOKEN
}

/// Ends the work if Ctrl-C was pressed.
///
/// # Errors
/// [`engine::Error::Interrupted`].
pub(crate) fn check() -> Result<(), CliError> {
    Ok(TOKEN.check()?)
}
