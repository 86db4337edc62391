//! `inspect --read`: every tensor through the path that fills a GPU.

use backends::{DeviceChoice, DeviceMemory, ModelBackend, NullSink, OnBackend};
use engine::bytes::format_bytes;
use loader::{LoadError, LoadReport, Weights};

use crate::args::{InspectArgs, Verbosity};
use crate::console::Console;
use crate::error::CliError;
use crate::progress::{LoadProgress, Progress};

/// The memory that tensors are read into.
pub(super) enum Target {
    /// Into memory that is dropped at once.
    Nowhere,
    /// Into a device's memory, and out of it again.
    Device(DeviceChoice),
}

impl Target {
    /// The one that the flags name, if they name one.
    ///
    /// # Errors
    /// [`engine::Error::Device`].
    pub(super) fn of(args: &InspectArgs) -> Result<Option<Self>, CliError> {
        Ok(match args.backend {
            Some(backend) => {
                let choice = backends::choose(backend.0.as_str(), args.device)?;
                Some(Self::Device(choice))
            }
            None => args.read.then_some(Self::Nowhere),
        })
    }

    /// Reads every tensor of a checkpoint.
    ///
    /// # Errors
    /// The error of reading the file or of filling the device.
    pub(super) fn read(&self, weights: &Weights) -> Result<LoadReport, CliError> {
        let console = Console::new(Verbosity::Normal);
        let message = format!("Reading the {}", weights.component());
        let observer = Progress::new(console).load(&message);
        let reading = Reading { weights, observer };
        let report = match self {
            Self::Nowhere => reading.into_sink(&mut NullSink::new()),
            Self::Device(choice) => backends::dispatch(choice, reading)?,
        };
        Ok(report?)
    }
}

struct Reading<'a> {
    weights: &'a Weights,
    observer: LoadProgress,
}

impl Reading<'_> {
    fn into_sink<S: backends::DeviceSink>(mut self, sink: &mut S) -> Result<LoadReport, LoadError> {
        loader::read_through(self.weights, sink, &mut self.observer)
    }
}

impl OnBackend for Reading<'_> {
    type Output = Result<LoadReport, LoadError>;

    fn run<B: ModelBackend>(self, device: B::Device) -> Self::Output {
        let used = || B::memory(&device).as_ref().map(DeviceMemory::used);
        let source = self.weights.source();
        let mut sink = B::sink(&device).map_err(|error| LoadError::upload(source, error))?;
        let device_used_before = used();
        let report = self.into_sink(&mut sink)?;
        let report = LoadReport {
            device_used_before,
            device_used_after: used(),
            ..report
        };
        drop(sink);
        B::release_unused(&device);
        Ok(report)
    }
}

/// Formats a report: `1933 tensors, 19.03 GiB in 8.3 s, 2.46 GB/s past the page cache, …`.
pub(super) fn text(report: &LoadReport) -> String {
    let mut text = format!(
        "{} tensors, {} in {:.1} s, {:.2} GB/s {}",
        report.tensors,
        format_bytes(report.bytes),
        report.seconds,
        report.bytes_per_second() / 1e9,
        report.way(),
    );
    if let Some(bytes) = report.peak_anonymous_bytes {
        text.push_str(&format!(", peak host memory {}", format_bytes(bytes)));
    }
    if let Some((before, after)) = report.device_used_before.zip(report.device_used_after) {
        let taken = after.saturating_sub(before);
        text.push_str(&format!(", device memory {}", format_bytes(taken)));
    }
    text
}
