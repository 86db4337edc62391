//! The rate at which a disk gives the bytes of a checkpoint.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use backends::upload::HostBuffer;

use crate::error::LoadError;
use crate::source::{FromDisk, Source, fill, read_error};
use crate::stream::Ring;
use crate::weights::Weights;

/// Measures how many bytes a second of a checkpoint's largest file the disk gives, by as many threads
/// and in reads as large as those of a load, whatever the system has in memory. It begins in the middle of the file and starts no read
/// after `limit`.
///
/// # Errors
/// A file that cannot be read, or has changed since its header was read; no memory for the
/// buffers.
pub fn read_rate(weights: &Weights, limit: Duration) -> Result<f64, LoadError> {
    let files = weights.checkpoint().files();
    let source = Source::open(files)?;
    let sizes = files.iter().map(|file| file.version().len).enumerate();
    let ring = Ring::default();
    let stretch = ring.buffer_bytes as u64;
    let (file, bytes) = sizes.max_by_key(|(_, bytes)| *bytes).unwrap_or_default();
    let sample = Sample {
        file: FromDisk(source.raw(file)),
        stretch,
        // The end of the file is read as well where that is all there is.
        begin: (bytes / 2).saturating_sub(1) / stretch * stretch,
        end: bytes,
        next: AtomicU64::new(0),
        read: AtomicU64::new(0),
        failed: Mutex::new(None),
    };
    let buffers: Result<Vec<HostBuffer>, _> = (0..ring.readers)
        .map(|_| HostBuffer::new(ring.buffer_bytes))
        .collect();
    let buffers = buffers.map_err(|error| LoadError::upload(weights.source(), error))?;
    let began = Instant::now();
    std::thread::scope(|scope| {
        for mut buffer in buffers {
            let sample = &sample;
            let reader = std::thread::Builder::new().name("reader".into());
            // Fewer readers read as well.
            let _ = reader.spawn_scoped(scope, move || sample.run(&mut buffer, began + limit));
        }
    });
    let seconds = began.elapsed().as_secs_f64();
    if let Some(error) = sample.failed.into_inner().unwrap_or_default() {
        return Err(read_error(source.path(file), error));
    }
    source.check_versions()?;
    Ok(sample.read.into_inner() as f64 / seconds.max(1e-9))
}

/// A part of a file that is read.
struct Sample<'a> {
    file: FromDisk<'a>,
    /// Bytes of a read.
    stretch: u64,
    begin: u64,
    end: u64,
    /// The number of the next read.
    next: AtomicU64,
    /// Bytes that were read.
    read: AtomicU64,
    failed: Mutex<Option<std::io::Error>>,
}

impl Sample<'_> {
    /// Reads stretch after stretch until there are none, or the time is over.
    fn run(&self, buffer: &mut [u8], deadline: Instant) {
        loop {
            let index = self.next.fetch_add(1, Ordering::Relaxed);
            let offset = self.begin + index * self.stretch;
            // The first read is made whatever the time.
            if offset >= self.end || (index > 0 && Instant::now() >= deadline) {
                return;
            }
            let length = (self.end - offset).min(self.stretch);
            if let Err(error) = fill(&self.file, buffer, offset, length as usize) {
                if let Ok(mut failed) = self.failed.lock() {
                    failed.get_or_insert(error);
                }
                return;
            }
            self.read.fetch_add(length, Ordering::Relaxed);
        }
    }
}
