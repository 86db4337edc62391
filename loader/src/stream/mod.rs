//! Files to a device through a ring of host buffers.
//!
//! Readers fill buffers with whole stretches of the files, in order; the calling thread hands each
//! to the sink, which copies its parts to the tensors they belong to. Every byte is read once, the
//! parts of a file that nothing needs are skipped, and host memory is the ring, whatever the files.

mod chunks;
mod need;
mod reading;

#[cfg(test)]
mod tests;

use std::io;
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, Sender, channel};

use backends::upload::{DeviceSink, HostBuffer, Piece, UploadError};
pub(crate) use chunks::{Chunk, chunks};
pub(crate) use need::{Destination, Need};
pub(crate) use reading::{Filled, Order, Reading};

use crate::error::LoadError;
use crate::source::{ReadAt, Source, read_error};
use crate::weights::Weights;

/// Bytes of a ring's buffer: two huge pages. Larger ones are no faster (`benches/loading`).
pub(crate) const BUFFER_BYTES: usize = 4 << 20;
/// Buffers of the ring.
const BUFFERS: usize = 16;
/// Threads that read.
pub(crate) const READERS: usize = 8;

/// Why a stream ended early.
#[derive(Debug)]
pub(crate) enum StreamError {
    /// A file could not be read.
    Read { file: usize, error: io::Error },
    /// The device did not take the bytes.
    Upload(UploadError),
    /// The caller wants no more.
    Caller(LoadError),
}

impl StreamError {
    /// The error of a checkpoint that was read from `source`.
    pub(crate) fn of(self, weights: &Weights, source: &Source) -> LoadError {
        match self {
            Self::Read { file, error } => read_error(source.path(file), error),
            Self::Upload(error) => LoadError::upload(weights.source(), error),
            Self::Caller(error) => error,
        }
    }
}

impl From<UploadError> for StreamError {
    fn from(error: UploadError) -> Self {
        Self::Upload(error)
    }
}

/// The caller's side of a stream: it receives bytes as they come in.
pub(crate) trait Follow {
    /// Takes bytes of a need that goes to the caller, from `offset` of the need on. Its parts come in
    /// any order.
    ///
    /// # Errors
    /// Ends the stream.
    fn receive(&mut self, number: usize, offset: u64, bytes: &[u8]) -> Result<(), LoadError>;

    /// So many bytes more are on their way to their destinations.
    ///
    /// # Errors
    /// Ends the stream.
    fn advance(&mut self, bytes: u64) -> Result<(), LoadError>;
}

/// Bytes of host memory that a stream of these needs takes.
pub(crate) fn ring_bytes(needs: &[Need]) -> u64 {
    let chunks = chunks(needs, BUFFER_BYTES);
    let (buffers, size) = ring(&chunks);
    (buffers * size) as u64
}

/// Number and size of the buffers that these chunks are read into.
pub(crate) fn ring(chunks: &[Chunk]) -> (usize, usize) {
    let largest = chunks.iter().map(|chunk| chunk.needed).max().unwrap_or(0);
    let size = largest.next_multiple_of(crate::source::BLOCK);
    (chunks.len().min(BUFFERS), size)
}

/// Brings all bytes that are needed to their destinations.
///
/// On an error nothing is left running: reads under way end, what was not read stays unread.
pub(crate) fn stream<F: ReadAt, S: DeviceSink>(
    files: &[F],
    needs: &[Need],
    sink: &mut S,
    follow: &mut dyn Follow,
) -> Result<(), StreamError> {
    stream_by(BUFFER_BYTES, files, needs, sink, follow)
}

/// [`stream`] with buffers of a given size.
fn stream_by<F: ReadAt, S: DeviceSink>(
    buffer_bytes: usize,
    files: &[F],
    needs: &[Need],
    sink: &mut S,
    follow: &mut dyn Follow,
) -> Result<(), StreamError> {
    let chunks = chunks(needs, buffer_bytes);
    let (buffers, size) = ring(&chunks);
    let reading = Reading::new(files.iter().collect(), chunks.as_slice());
    let (free, to_fill) = channel();
    let to_fill = Mutex::new(to_fill);
    std::thread::scope(|scope| {
        // It goes with this closure, on whatever way out, and that ends the readers.
        let free = free;
        let (filled, to_write) = channel();
        let mut readers = 0;
        for _ in 0..READERS.min(buffers) {
            let (reading, to_fill, filled) = (&reading, &to_fill, filled.clone());
            let reader = std::thread::Builder::new().name("reader".into());
            let reader = reader.spawn_scoped(scope, move || reading.run(to_fill, &filled));
            match reader {
                Ok(_) => readers += 1,
                // Fewer readers do as well.
                Err(_) if readers > 0 => break,
                Err(error) => return Err(StreamError::Read { file: 0, error }),
            }
        }
        drop(filled);
        for _ in 0..buffers {
            let _ = free.send(sink.host_buffer(size)?);
        }
        let writing = Writing {
            needs,
            chunks: &chunks,
            free,
            with_readers: buffers,
        };
        writing.run(&to_write, sink, follow)
    })?;
    Ok(sink.finish()?)
}

/// The device's side.
struct Writing<'a> {
    needs: &'a [Need],
    chunks: &'a [Chunk],
    free: Sender<HostBuffer>,
    /// Buffers that the readers have; the sink has the others.
    with_readers: usize,
}

impl Writing<'_> {
    fn run<S: DeviceSink>(
        mut self,
        to_write: &Receiver<Filled>,
        sink: &mut S,
        follow: &mut dyn Follow,
    ) -> Result<(), StreamError> {
        for _ in 0..self.chunks.len() {
            // With no buffer left to read into, only the device can give one.
            while let Some(buffer) = sink.reclaim(self.with_readers == 0)? {
                let _ = self.free.send(buffer);
                self.with_readers += 1;
            }
            let Ok(filled) = to_write.recv() else {
                let error = io::Error::other("the readers have ended early");
                return Err(StreamError::Read { file: 0, error });
            };
            self.with_readers -= 1;
            self.write(filled, sink, follow)?;
        }
        Ok(())
    }

    fn write<S: DeviceSink>(
        &self,
        filled: Filled,
        sink: &mut S,
        follow: &mut dyn Follow,
    ) -> Result<(), StreamError> {
        let chunk = &self.chunks[filled.number];
        filled.result.map_err(|error| StreamError::Read {
            file: chunk.file,
            error,
        })?;
        let mut pieces = Vec::new();
        let mut bytes = 0;
        for part in &chunk.parts {
            bytes += part.source.len() as u64;
            match self.needs[part.need].destination {
                Destination::Device(memory) => pieces.push(Piece {
                    memory,
                    offset: part.offset as usize,
                    source: part.source.clone(),
                }),
                Destination::Host(number) => {
                    let bytes = &filled.buffer[part.source.clone()];
                    let received = follow.receive(number, part.offset, bytes);
                    received.map_err(StreamError::Caller)?;
                }
            }
        }
        sink.write(filled.buffer, &pieces)?;
        follow.advance(bytes).map_err(StreamError::Caller)
    }
}
