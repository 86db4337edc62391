//! What a mapped file does to a process when it is cut off, or its disk fails: the system sends
//! SIGBUS to whoever touches the lost part, in the middle of the computation. It becomes one line
//! and an exit code.

/// Starts to listen.
pub(crate) fn listen() {
    #[cfg(unix)]
    signal::listen();
}

#[cfg(unix)]
mod signal {
    use std::sync::atomic::{AtomicBool, Ordering};

    use crate::exit::ExitCode;

    /// Said before the end. Without the file's name: it was mapped long ago, and a signal handler
    /// may do next to nothing.
    const MESSAGE: &[u8] = b"error: a model file was cut off or written to while in use, or its \
        disk failed: try again once the file is complete; --no-mmap reads files before they are \
        used\n";

    static TOLD: AtomicBool = AtomicBool::new(false);

    /// Takes the signal over, instead of adding to who has it: the standard library's handler
    /// gives the signal back to the system, which then ends the process at another thread's fault
    /// before this one has told of it.
    pub(super) fn listen() {
        // SAFETY: the structure is all numbers and pointers that may be zero; the handler does
        // only what a signal handler may. Without it the process ends by the signal, which is
        // all there is to lose.
        unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = explain as extern "C" fn(libc::c_int) as usize;
            action.sa_flags = libc::SA_ONSTACK;
            libc::sigemptyset(&mut action.sa_mask);
            libc::sigaction(libc::SIGBUS, &action, std::ptr::null_mut());
        }
    }

    extern "C" fn explain(_signal: libc::c_int) {
        if TOLD.swap(true, Ordering::SeqCst) {
            // The thread that came first ends all of them.
            loop {
                // SAFETY: waits for a signal, no more.
                unsafe { libc::pause() };
            }
        }
        // SAFETY: writes a constant and ends the process; a handler may do both.
        unsafe {
            libc::write(libc::STDERR_FILENO, MESSAGE.as_ptr().cast(), MESSAGE.len());
            libc::_exit(ExitCode::BadModel as libc::c_int);
        }
    }
}
