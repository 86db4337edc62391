//! Times and host memory while something is read.

use std::time::Instant;

use backends::host_memory::{PeakSampler, host_memory};

use crate::report::LoadReport;

/// A measurement under way.
pub(crate) struct Measurement {
    start: Instant,
    page_cache: Option<u64>,
    sampler: PeakSampler,
}

impl Measurement {
    /// Begins.
    pub(crate) fn start() -> Self {
        Self {
            start: Instant::now(),
            page_cache: host_memory().map(|memory| memory.page_cache),
            sampler: PeakSampler::start(),
        }
    }

    /// Ends, and enters the figures.
    pub(crate) fn finish(self, report: &mut LoadReport) {
        report.seconds = self.start.elapsed().as_secs_f64();
        report.peak_anonymous_bytes = self.sampler.finish();
        let after = host_memory().map(|memory| memory.page_cache);
        let growth = self.page_cache.zip(after);
        report.page_cache_growth = growth.map(|(before, after)| after as i64 - before as i64);
    }
}
