//! How long a run of several images still takes.

use std::time::{Duration, Instant};

/// The work of a run, image by image, and when it began.
#[derive(Debug)]
pub(crate) struct RunTime {
    /// The cost of a step of each image, in any unit, and the image's steps.
    images: Vec<(f64, usize)>,
    began: Option<Instant>,
}

/// An image's part of the work of a run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Share {
    began: Instant,
    before: f64,
    step: f64,
    all: f64,
}

impl RunTime {
    /// A run of these images, each with what a step of it costs and its steps.
    pub(crate) fn of(images: impl Iterator<Item = (f64, usize)>) -> Self {
        Self {
            images: images.collect(),
            began: None,
        }
    }

    /// The part of an image counted from 0, which begins now; `None` in a run of a single one,
    /// whose time is the run's.
    pub(crate) fn begin(&mut self, index: usize, now: Instant) -> Option<Share> {
        let began = *self.began.get_or_insert(now);
        if self.images.len() < 2 {
            return None;
        }
        let cost = |images: &[(f64, usize)]| -> f64 {
            images
                .iter()
                .map(|(step, steps)| step * *steps as f64)
                .sum()
        };
        Some(Share {
            began,
            before: cost(self.images.get(..index)?),
            step: self.images.get(index)?.0,
            all: cost(&self.images),
        })
    }
}

impl Share {
    /// How long the rest of the run takes if it goes on as it did, after so many steps of this
    /// image.
    pub(super) fn left(&self, steps: u64, now: Instant) -> Option<Duration> {
        let done = self.before + self.step * steps as f64;
        let elapsed = now.saturating_duration_since(self.began).as_secs_f64();
        let left = elapsed / done * (self.all - done);
        Duration::try_from_secs_f64(left.max(0.0)).ok()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_rest_of_a_run_takes_as_long_as_its_work() {
        let began = Instant::now();
        let after = |seconds| began + Duration::from_secs(seconds);
        // The second image's steps are four times as large.
        let mut run = RunTime::of([(1.0, 10), (4.0, 10), (1.0, 50)].into_iter());
        let first = run.begin(0, began).unwrap();
        assert_eq!(first.left(0, after(1)), None);
        assert_eq!(first.left(5, after(5)), Some(Duration::from_secs(95)));
        // Between them, something else has taken 10 seconds.
        let second = run.begin(1, after(20)).unwrap();
        assert_eq!(second.left(0, after(20)), Some(Duration::from_secs(180)));
        assert_eq!(second.left(10, after(100)), Some(Duration::from_secs(100)));
        let last = run.begin(2, after(100)).unwrap();
        assert_eq!(last.left(50, after(200)), Some(Duration::ZERO));
    }

    #[test]
    fn what_an_earlier_run_has_done_is_no_work_of_this_one() {
        let began = Instant::now();
        let after = |seconds| began + Duration::from_secs(seconds);
        let mut run = RunTime::of([(0.0, 0), (1.0, 10), (1.0, 10)].into_iter());
        let second = run.begin(1, began).unwrap();
        assert_eq!(second.left(10, after(8)), Some(Duration::from_secs(8)));
    }

    #[test]
    fn a_single_image_is_the_whole_run() {
        let mut run = RunTime::of([(1.0, 10)].into_iter());
        assert!(run.begin(0, Instant::now()).is_none());
    }
}
