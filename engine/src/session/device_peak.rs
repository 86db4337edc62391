//! The most device memory that was in use during a phase, by the driver's figures.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

const INTERVAL: Duration = Duration::from_millis(10);

/// Follows the figure from a thread of its own, since drivers keep no high-water mark.
#[derive(Debug)]
pub(super) struct DevicePeak {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<u64>>,
}

impl DevicePeak {
    /// Starts to follow `used`, in bytes. Where that tells nothing, nothing is followed.
    pub(super) fn follow(used: impl Fn() -> Option<u64> + Send + 'static) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let thread = used().and_then(|first| {
            let sample = move || {
                let mut peak = first;
                loop {
                    let last = stopped.load(Ordering::Acquire);
                    peak = peak.max(used().unwrap_or(0));
                    if last {
                        return peak;
                    }
                    thread::park_timeout(INTERVAL);
                }
            };
            let builder = thread::Builder::new().name("device-memory".to_owned());
            builder.spawn(sample).ok()
        });
        Self { stop, thread }
    }

    /// Stops and returns the peak, or `None` where nothing was followed.
    pub(super) fn finish(mut self) -> Option<u64> {
        self.stop()
    }

    fn stop(&mut self) -> Option<u64> {
        self.stop.store(true, Ordering::Release);
        let thread = self.thread.take()?;
        thread.thread().unpark();
        thread.join().ok()
    }
}

impl Drop for DevicePeak {
    fn drop(&mut self) {
        self.stop();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::DevicePeak;

    #[test]
    fn the_peak_is_the_largest_figure_seen() {
        let used = Arc::new(AtomicU64::new(7));
        let reads = Arc::new(AtomicU64::new(0));
        let (figure, counter) = (used.clone(), reads.clone());
        let peak = DevicePeak::follow(move || {
            counter.fetch_add(1, Ordering::SeqCst);
            Some(figure.load(Ordering::SeqCst))
        });
        used.store(42, Ordering::SeqCst);
        // Two more reads begun since: at least one has seen the figure.
        let now = reads.load(Ordering::SeqCst);
        while reads.load(Ordering::SeqCst) < now + 2 {
            std::thread::yield_now();
        }
        used.store(9, Ordering::SeqCst);
        assert_eq!(peak.finish(), Some(42));
    }

    #[test]
    fn a_device_that_tells_nothing_has_no_peak() {
        assert_eq!(DevicePeak::follow(|| None).finish(), None);
    }

    #[test]
    fn the_first_and_the_last_figure_count() {
        let used = Arc::new(AtomicU64::new(7));
        let figure = used.clone();
        let peak = DevicePeak::follow(move || Some(figure.load(Ordering::SeqCst)));
        used.store(8, Ordering::SeqCst);
        assert_eq!(peak.finish(), Some(8));
    }
}
