//! The fault of a mapped file that is cut off, or whose disk fails: the system sends
//! SIGBUS to whoever touches the lost part, in the middle of the computation. It becomes one line
//! and an exit code.

use loader::WatchedFiles;

/// Starts to listen.
pub(crate) fn listen() {
    #[cfg(unix)]
    signal::listen();
}

/// Files that are in use from their mappings: the line names the one that was cut off, as long as
/// this value lives and the files are held open.
#[derive(Debug)]
pub(crate) struct Named {
    #[cfg(unix)]
    slots: Vec<usize>,
}

impl Named {
    /// Makes files known to the handler.
    #[cfg_attr(not(unix), allow(unused_variables))]
    pub(crate) fn of(files: &WatchedFiles) -> Self {
        Self {
            #[cfg(unix)]
            slots: files.files().filter_map(signal::name).collect(),
        }
    }
}

#[cfg(unix)]
impl Drop for Named {
    fn drop(&mut self) {
        self.slots.iter().copied().for_each(signal::forget);
    }
}

#[cfg(unix)]
mod signal {
    use std::fs::File;
    use std::os::fd::AsRawFd;
    use std::path::Path;
    use std::ptr::null_mut;
    use std::sync::atomic::{AtomicBool, AtomicPtr, Ordering};

    use crate::console::printable;
    use crate::exit::ExitCode;

    /// Said before the end where no file is shorter than it was.
    const MESSAGE: &[u8] = b"error: a model file was cut off or written to while in use, or its \
        disk failed: try again once the file is complete; --no-mmap reads files before they are \
        used\n";

    /// Files that can be named; those of a checkpoint of more shards may go without.
    const SLOTS: usize = 64;

    static TOLD: AtomicBool = AtomicBool::new(false);
    static FILES: [AtomicPtr<InUse>; SLOTS] = [const { AtomicPtr::new(null_mut()) }; SLOTS];

    /// All that the handler needs, which may allocate nothing.
    struct InUse {
        descriptor: libc::c_int,
        length: u64,
        message: String,
    }

    /// Makes a file known to the handler, and gives its place.
    pub(super) fn name((path, file, length): (&Path, &File, u64)) -> Option<usize> {
        let message = format!(
            "error: {}: was cut off while in use: try again once the file is complete; --no-mmap \
             reads files before they are used\n",
            printable(&path.to_string_lossy())
        );
        let new = Box::into_raw(Box::new(InUse {
            descriptor: file.as_raw_fd(),
            length,
            message,
        }));
        let free = FILES.iter().position(|slot| {
            let taken = slot.compare_exchange(null_mut(), new, Ordering::SeqCst, Ordering::SeqCst);
            taken.is_ok()
        });
        if free.is_none() {
            // SAFETY: it comes from `into_raw` above, and nobody else has it.
            drop(unsafe { Box::from_raw(new) });
        }
        free
    }

    /// Takes a file out of the list. Its line stays in memory: the handler may be at it.
    pub(super) fn forget(slot: usize) {
        FILES[slot].store(null_mut(), Ordering::SeqCst);
    }

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
        let message = FILES.iter().find_map(cut_off).unwrap_or(MESSAGE);
        // SAFETY: writes bytes that stay where they are and ends the process; a handler may do
        // both.
        unsafe {
            libc::write(libc::STDERR_FILENO, message.as_ptr().cast(), message.len());
            libc::_exit(ExitCode::BadModel as libc::c_int);
        }
    }

    /// The line of a file that is shorter than it was.
    fn cut_off(slot: &AtomicPtr<InUse>) -> Option<&'static [u8]> {
        // SAFETY: what was put into the list is never freed.
        let file = unsafe { slot.load(Ordering::SeqCst).as_ref::<'static>() }?;
        // SAFETY: the structure is all numbers; `fstat` fills it, and is allowed in a handler.
        let (answer, status) = unsafe {
            let mut status: libc::stat = std::mem::zeroed();
            (libc::fstat(file.descriptor, &mut status), status)
        };
        let shorter = answer == 0 && status.st_size.cast_unsigned() < file.length;
        shorter.then_some(file.message.as_bytes())
    }
}
