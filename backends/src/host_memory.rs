//! Host memory that this process and the page cache hold.

/// Host memory figures in bytes, from Linux's `/proc`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HostMemory {
    /// Anonymous memory of this process now (`RssAnon`): heap and stacks, not file mappings.
    pub anonymous: u64,
    /// The page cache of the whole machine now (`Cached`).
    pub page_cache: u64,
}

/// Reads the figures now; `None` on a system without `/proc`.
pub fn host_memory() -> Option<HostMemory> {
    let machine = std::fs::read_to_string("/proc/meminfo").ok()?;
    Some(HostMemory {
        anonymous: anonymous()?,
        page_cache: field(&machine, "Cached:")?,
    })
}

/// Reads how many bytes the system can give to a process now without swapping (`MemAvailable`);
/// `None` where it does not tell.
pub fn available() -> Option<u64> {
    let machine = std::fs::read_to_string("/proc/meminfo").ok()?;
    field(&machine, "MemAvailable:")
}

/// Reads [`HostMemory::anonymous`] now.
fn anonymous() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    field(&status, "RssAnon:")
}

/// The value in bytes of a line such as `RssAnon:   1234 kB`.
fn field(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    let kib: u64 = line.split_whitespace().next()?.parse().ok()?;
    kib.checked_mul(1024)
}

/// Follows the peak of [`HostMemory::anonymous`] from a thread of its own.
///
/// The kernel keeps a high-water mark of all resident memory (`VmHWM`), file mappings
/// included, but none of the anonymous part, so it has to be sampled.
#[derive(Debug)]
pub struct PeakSampler {
    stop: std::sync::Arc<std::sync::atomic::AtomicBool>,
    thread: Option<std::thread::JoinHandle<u64>>,
}

impl PeakSampler {
    const INTERVAL: std::time::Duration = std::time::Duration::from_millis(5);

    /// Starts sampling.
    pub fn start() -> Self {
        use std::sync::atomic::{AtomicBool, Ordering};
        let stop = std::sync::Arc::new(AtomicBool::new(false));
        let seen = stop.clone();
        let thread = std::thread::Builder::new()
            .name("memory-sampler".into())
            .spawn(move || {
                let mut peak = 0;
                loop {
                    let last = seen.load(Ordering::Acquire);
                    peak = peak.max(anonymous().unwrap_or(0));
                    if last {
                        return peak;
                    }
                    std::thread::park_timeout(Self::INTERVAL);
                }
            })
            .ok();
        Self { stop, thread }
    }

    /// Stops sampling and returns the peak in bytes, or `None` if nothing could be sampled.
    pub fn finish(mut self) -> Option<u64> {
        self.stop.store(true, std::sync::atomic::Ordering::Release);
        let thread = self.thread.take()?;
        thread.thread().unpark();
        thread.join().ok().filter(|&peak| peak > 0)
    }
}

impl Drop for PeakSampler {
    fn drop(&mut self) {
        self.stop.store(true, std::sync::atomic::Ordering::Release);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            // The sampler cannot panic, and a drop has nobody to tell.
            let _ = thread.join();
        }
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn the_peak_sees_a_buffer_that_is_gone_at_the_end() {
        // Larger than all that the tests beside this one hold, so that their comings and goings
        // do not matter.
        const SIZE: usize = 512 << 20;
        let sampler = PeakSampler::start();
        let buffer = vec![1u8; SIZE];
        std::thread::sleep(std::time::Duration::from_millis(50));
        assert_eq!(std::hint::black_box(&buffer)[12345], 1);
        drop(buffer);
        let peak = sampler.finish().expect("samples");
        assert!(peak >= SIZE as u64, "{peak}");
        let now = host_memory().expect("/proc").anonymous;
        assert!(now < SIZE as u64, "{now}");
    }

    #[test]
    fn fields_are_read_in_bytes() {
        assert_eq!(
            field("A: 1\nCached:    12 kB\n", "Cached:"),
            Some(12 * 1024)
        );
        assert_eq!(field("A: 1\n", "Cached:"), None);
    }
}
