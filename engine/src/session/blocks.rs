//! Lends the blocks of a model: from memory, or from the stream of those that do not stay there.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use backends::ModelBackend;
use burn::module::Module;
use loader::{LoadError, StreamFigures, WeightStream};
use model::BlockSource;

use crate::events::CancelToken;
use crate::plan::{Setting, Streaming};

/// A pass that waits for less than this part of its time is not slowed down by its disk.
const NOTICED: f64 = 0.05;
/// A disk that is slower than planned by less than this factor is not worth a word.
const SLOWER: f64 = 1.3;

/// The blocks `M` of a model, in order.
pub(super) struct Blocks<'a, B: ModelBackend, M> {
    modules: &'a [M],
    stream: Option<MutexGuard<'a, WeightStream<B>>>,
    cancel: &'a CancelToken,
    pace: Option<&'a Pace>,
    /// The figures of the stream and the time when the pass began that is under way.
    began: Option<(StreamFigures, Instant)>,
    /// True once a pass has ended. The first one tells nothing of the disk: kernels are compiled
    /// in it.
    warm: bool,
}

impl<'a, B: ModelBackend, M> Blocks<'a, B, M> {
    /// Lends these modules, whose weights the stream has if there is one.
    pub(super) fn new(
        modules: &'a [M],
        stream: Option<&'a Mutex<WeightStream<B>>>,
        cancel: &'a CancelToken,
        pace: Option<&'a Pace>,
    ) -> Self {
        // A panic of other work broke the order of the stream, which begins again by itself.
        let lock = |stream: &'a Mutex<_>| stream.lock().unwrap_or_else(PoisonError::into_inner);
        Self {
            modules,
            stream: stream.map(lock),
            cancel,
            pace,
            began: None,
            warm: false,
        }
    }
}

impl<B: ModelBackend, M: Module<B>> BlockSource<M> for Blocks<'_, B, M> {
    type Error = LoadError;

    fn count(&self) -> usize {
        self.modules.len()
    }

    fn with_block<T>(&mut self, index: usize, work: impl FnOnce(&M) -> T) -> Result<T, LoadError> {
        let module = &self.modules[index];
        let Some(stream) = &mut self.stream else {
            return Ok(work(module));
        };
        if let Some(pace) = self.pace.filter(|_| index == 0) {
            let now = (stream.figures(), Instant::now());
            if let Some((before, began)) = self.began.replace(now)
                && std::mem::replace(&mut self.warm, true)
            {
                pace.passed(&before, &now.0, (now.1 - began).as_secs_f64());
            }
        }
        let cancelled = || self.cancel.is_cancelled();
        stream.with_group(index, module, &cancelled, work)
    }
}

/// The figures of what was streamed between two points of a stream.
pub(super) fn streamed_since(
    before: Option<StreamFigures>,
    after: Option<StreamFigures>,
) -> Option<StreamFigures> {
    let (before, after) = before.zip(after)?;
    Some(StreamFigures {
        groups: after.groups - before.groups,
        bytes_read: after.bytes_read - before.bytes_read,
        bytes_from_cache: after.bytes_from_cache - before.bytes_from_cache,
        seconds_stalled: after.seconds_stalled - before.seconds_stalled,
        ..after
    })
}

/// Watches whether a disk is as fast as planned.
#[derive(Debug)]
pub(super) struct Pace {
    /// Bytes a second.
    planned: f64,
    /// True if bytes are read while the device computes, and not between.
    beside: bool,
    /// The bits of the rate that was found instead; 0 as long as there is none.
    slow: AtomicU64,
    told: AtomicBool,
}

impl Pace {
    /// Watches a stream; `None` where no rate was planned with.
    pub(super) fn of(streaming: &Streaming, setting: &Setting) -> Option<Self> {
        Some(Self {
            planned: setting.read_rate?,
            beside: streaming.copies_beside,
            slow: AtomicU64::new(0),
            told: AtomicBool::new(false),
        })
    }

    /// Takes the figures before and after a pass of so many seconds.
    fn passed(&self, before: &StreamFigures, after: &StreamFigures, seconds: f64) {
        let waited = after.seconds_stalled - before.seconds_stalled;
        let bytes = (after.bytes_read - before.bytes_read) as f64;
        let reading = if self.beside { seconds } else { waited };
        let rate = bytes / reading.max(1e-9);
        if waited > NOTICED * seconds && bytes > 0.0 && rate * SLOWER < self.planned {
            self.slow.store(rate.to_bits(), Ordering::Relaxed);
        }
    }

    /// Returns the planned bytes a second and those that were found, if a pass has waited for a
    /// disk that is slower.
    pub(super) fn slower(&self) -> Option<(f64, f64)> {
        let rate = f64::from_bits(self.slow.load(Ordering::Relaxed));
        (rate > 0.0).then_some((self.planned, rate))
    }

    /// Returns the same once, and nothing from then on.
    pub(super) fn news(&self) -> Option<(f64, f64)> {
        let slower = self.slower()?;
        (!self.told.swap(true, Ordering::Relaxed)).then_some(slower)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figures(bytes_read: u64, seconds_stalled: f64) -> StreamFigures {
        StreamFigures {
            bytes_read,
            seconds_stalled,
            ..StreamFigures::default()
        }
    }

    fn slower(beside: bool, bytes: u64, waited: f64, seconds: f64) -> Option<(f64, f64)> {
        let pace = Pace {
            planned: 1000.0,
            beside,
            slow: AtomicU64::new(0),
            told: AtomicBool::new(false),
        };
        let before = figures(500, 1.0);
        pace.passed(&before, &figures(500 + bytes, 1.0 + waited), seconds);
        pace.slower()
    }

    #[test]
    fn a_disk_is_slow_if_passes_wait_for_less_than_was_planned() {
        // Half the rate, and the pass waits for it.
        assert_eq!(slower(true, 1000, 1.0, 2.0), Some((1000.0, 500.0)));
        // The disk has time to spare.
        assert_eq!(slower(true, 1000, 0.0, 2.0), None);
        assert_eq!(slower(true, 1000, 0.09, 2.0), None);
        // The pass waits as planned.
        assert_eq!(slower(true, 1900, 1.0, 2.0), None);
        // All bytes come from host memory.
        assert_eq!(slower(true, 0, 1.0, 2.0), None);
        // Bytes that come between computations have only that time.
        assert_eq!(slower(false, 1000, 1.0, 2.0), None);
        assert_eq!(slower(false, 1000, 4.0, 5.0), Some((1000.0, 250.0)));
    }
}
