//! Progress in plain lines, now and then, for logs and for terminals without bars.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use engine::bytes::format_bytes;

use super::line::clock;
use super::run_time::Share;

/// Progress is told at most this often.
const INTERVAL: Duration = Duration::from_secs(10);

/// Lines about steps. Times come from the caller.
#[derive(Debug)]
pub(super) struct StepLines {
    message: String,
    total: usize,
    share: Option<Share>,
    began: Instant,
    told: Instant,
}

impl StepLines {
    /// Lines about `total` steps that begin now.
    pub(super) fn new(message: &str, total: usize, share: Option<Share>, now: Instant) -> Self {
        Self {
            message: message.to_owned(),
            total,
            share,
            began: now,
            told: now,
        }
    }

    /// The line after `done` steps, if one is due; with `always` it is.
    pub(super) fn after(&mut self, done: usize, now: Instant, always: bool) -> Option<String> {
        let is_due = now.saturating_duration_since(self.told) >= INTERVAL;
        if !(is_due || always || done == self.total) {
            return None;
        }
        self.told = now;
        let elapsed = now.saturating_duration_since(self.began);
        let pace = elapsed.as_secs_f64() / done.max(1) as f64;
        let mut line = format!("{} {done}/{}, {pace:.2} s/it", self.message, self.total);
        if done < self.total {
            let left = Duration::from_secs_f64(pace * (self.total - done) as f64);
            let _ = write!(line, ", {} left", clock(left));
        }
        let all = self.share.and_then(|share| share.left(done as u64, now));
        if let Some(all) = all.filter(|all| !all.is_zero()) {
            let _ = write!(line, ", {} left for all images", clock(all));
        }
        Some(line)
    }
}

/// Lines about bytes. Times come from the caller.
#[derive(Debug)]
pub(super) struct ByteLines {
    message: String,
    told: Instant,
}

impl ByteLines {
    /// Lines about bytes that are counted from now on.
    pub(super) fn new(message: &str, now: Instant) -> Self {
        Self {
            message: message.to_owned(),
            told: now,
        }
    }

    /// The line at `done` of `total` bytes, if one is due.
    pub(super) fn at(&mut self, done: u64, total: u64, now: Instant) -> Option<String> {
        if now.saturating_duration_since(self.told) < INTERVAL {
            return None;
        }
        self.told = now;
        let (done, total) = (format_bytes(done), format_bytes(total));
        Some(format!("{}: {done} of {total}", self.message))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::run_time::RunTime;
    use super::*;

    #[test]
    fn steps_are_told_every_ten_seconds_and_at_the_end() {
        let began = Instant::now();
        let after = |seconds| began + Duration::from_secs(seconds);
        let mut lines = StepLines::new("Denoising", 8, None, began);
        let told: Vec<_> = (1..=8)
            .filter_map(|step| lines.after(step, after(4 * step as u64), false))
            .collect();
        assert_eq!(
            told,
            [
                "Denoising 3/8, 4.00 s/it, 0:20 left",
                "Denoising 6/8, 4.00 s/it, 0:08 left",
                "Denoising 8/8, 4.00 s/it"
            ]
        );
        let mut lines = StepLines::new("Denoising", 8, None, began);
        assert!(lines.after(1, after(1), true).is_some());
    }

    #[test]
    fn a_batch_tells_the_whole_runs_time() {
        let began = Instant::now();
        let mut run = RunTime::of([(1.0, 10), (1.0, 10), (1.0, 10)].into_iter());
        let share = run.begin(0, began);
        let mut lines = StepLines::new("Denoising image 1 of 3", 10, share, began);
        let line = lines.after(5, began + Duration::from_secs(10), false);
        assert_eq!(
            line.unwrap(),
            "Denoising image 1 of 3 5/10, 2.00 s/it, 0:10 left, 0:50 left for all images"
        );
    }

    #[test]
    fn bytes_are_told_every_ten_seconds() {
        let began = Instant::now();
        let after = |seconds| began + Duration::from_secs(seconds);
        let mut lines = ByteLines::new("Loading the VAE", began);
        assert_eq!(lines.at(1 << 20, 4 << 20, after(9)), None);
        let line = lines.at(2 << 20, 4 << 20, after(10)).unwrap();
        assert_eq!(line, "Loading the VAE: 2.00 MiB of 4.00 MiB");
        assert_eq!(lines.at(3 << 20, 4 << 20, after(19)), None);
    }
}
