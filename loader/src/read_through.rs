//! A checkpoint read into a device without a module: to try a disk, a file or the path itself.

use backends::upload::DeviceSink;

use crate::error::LoadError;
use crate::measurement::Measurement;
use crate::progress::{LoadObserver, Progress};
use crate::report::LoadReport;
use crate::source::Source;
use crate::stream::{Destination, Need, Ring, stream_by};
use crate::weights::Weights;

/// Reads every tensor that the component uses into a sink, as a load onto a GPU does, with all of
/// them going to the device as they are.
///
/// # Errors
/// A file that cannot be read, or changes meanwhile; [`LoadError::OutOfMemory`];
/// [`LoadError::Cancelled`].
pub fn read_through<S: DeviceSink>(
    weights: &Weights,
    sink: &mut S,
    observer: &mut dyn LoadObserver,
) -> Result<LoadReport, LoadError> {
    read_through_by(&Ring::default(), weights, sink, observer)
}

/// [`read_through`] with a ring of another shape than loads have.
///
/// # Errors
/// The same.
pub fn read_through_by<S: DeviceSink>(
    ring: &Ring,
    weights: &Weights,
    sink: &mut S,
    observer: &mut dyn LoadObserver,
) -> Result<LoadReport, LoadError> {
    let measurement = Measurement::start();
    let source = Source::open(weights.checkpoint().files())?;
    let mut needs = Vec::new();
    for entry in weights.used() {
        let memory = sink
            .allocate(entry.tensor.bytes() as usize)
            .map_err(|error| LoadError::upload(weights.source(), error))?;
        needs.push(Need {
            file: entry.file,
            range: entry.tensor.range.clone(),
            destination: Destination::Device(memory),
        });
    }
    let total = needs.iter().map(|need| need.range.end - need.range.start);
    let mut progress = Progress::new(total.sum(), observer);
    stream_by(ring, &source.raws(), &needs, sink, &mut progress)
        .map_err(|error| error.of(weights, &source))?;
    source.check_versions()?;
    let (method, memory_bytes) = source.method();
    let mut report = LoadReport {
        tensors: needs.len(),
        unused: weights.unused().len(),
        in_files: weights.checkpoint().tensors_in_files(),
        part: weights.part().name(),
        bytes: progress.total(),
        method,
        // What lies between tensors was read along with them.
        memory_bytes: memory_bytes.min(progress.total()),
        ring_bytes: ring.bytes(&needs),
        ..LoadReport::default()
    };
    measurement.finish(&mut report);
    Ok(report)
}
