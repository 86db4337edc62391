//! What a mapped file does to a process when it is cut off, or its disk fails: the system sends
//! SIGBUS to whoever touches the lost part, in the middle of the computation. It becomes one line
//! and an exit code.

#[cfg(unix)]
use crate::exit::ExitCode;

/// Said before the end. Without the file's name: it was mapped long ago, and a signal handler may
/// do next to nothing.
#[cfg(unix)]
const MESSAGE: &[u8] = b"error: a model file was cut off or written to while in use, or its disk \
    failed: try again once the file is complete; --no-mmap reads files before they are used\n";

/// Starts to listen.
pub(crate) fn listen() {
    #[cfg(unix)]
    {
        let explain = || {
            let _ = rustix::io::write(rustix::stdio::stderr(), MESSAGE);
            signal_hook::low_level::exit(ExitCode::BadModel as i32);
        };
        // SAFETY: the action does a write and an exit, both of which a signal handler may do.
        // Without a handler the process ends by the signal, which is all there is to lose.
        let _ = unsafe { signal_hook::low_level::register(signal_hook::consts::SIGBUS, explain) };
    }
}
