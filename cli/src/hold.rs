//! Points at which a test holds the program, so that a signal or a change of a file comes at a known
//! moment, on a machine of any speed. Every build can be held, since the tests run the program that
//! is shipped.

/// A place in the work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Point {
    /// A denoising step is done.
    Step,
    /// An image is denoised, and its latents are kept.
    Denoised,
    /// A part of a model file is read.
    Read,
    /// A part of a file is written.
    Write,
}

/// Waits here if `QWEN_IMAGE_HOLD` says so, as `step,3,PIPE`: when this point is reached for the
/// third time, until the test has opened and closed the named pipe PIPE.
pub(crate) fn at(point: Point) {
    use std::io::Read as _;
    use std::sync::atomic::{AtomicU32, Ordering};

    static REACHED: AtomicU32 = AtomicU32::new(0);

    let Ok(wanted) = std::env::var("QWEN_IMAGE_HOLD") else {
        return;
    };
    let mut parts = wanted.splitn(3, ',');
    let name = match point {
        Point::Step => "step",
        Point::Denoised => "denoised",
        Point::Read => "read",
        Point::Write => "write",
    };
    if parts.next() != Some(name) {
        return;
    }
    let reached = REACHED.fetch_add(1, Ordering::SeqCst) + 1;
    if parts.next().and_then(|time| time.parse().ok()) == Some(reached)
        && let Some(Ok(mut pipe)) = parts.next().map(std::fs::File::open)
    {
        // The end of the pipe is what is waited for; nothing comes through it.
        let _ = pipe.read(&mut [0]);
    }
}
