//! Files to a device through a ring of host buffers.
//!
//! Readers fill buffers with whole stretches of the files, in order; the calling thread hands each
//! to the sink, which copies its parts to the tensors they belong to. Every byte is read once, the
//! parts of a file that nothing needs are skipped, and host memory is the ring, whatever the files.

mod chunks;
mod need;
mod reading;
mod ring;

#[cfg(test)]
mod tests;

use std::io;
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};

use backends::upload::{DeviceSink, HostBuffer, Piece, UploadError};
pub(crate) use chunks::{Chunk, chunks};
pub(crate) use need::{Destination, Need};
pub(crate) use reading::{Filled, Order, Reading};
pub use ring::Ring;

use crate::error::LoadError;
use crate::source::{ReadAt, Source, read_error};
use crate::weights::Weights;

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

/// Bytes of host memory that a stream of these needs takes at most.
pub(crate) fn ring_bytes(needs: &[Need]) -> u64 {
    Ring::default().bytes(needs)
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
    stream_by(&Ring::default(), files, needs, sink, follow)
}

/// [`stream`] through a ring of a given shape.
pub(crate) fn stream_by<F: ReadAt, S: DeviceSink>(
    ring: &Ring,
    files: &[F],
    needs: &[Need],
    sink: &mut S,
    follow: &mut dyn Follow,
) -> Result<(), StreamError> {
    let chunks = chunks(needs, ring.buffer_bytes);
    let (buffers, size) = ring.fit(&chunks);
    // Buffers are made one by one while the readers work. That there is room for all of them is
    // known before that: a reader that finds no memory left ends the process.
    drop(HostBuffer::new(buffers * size)?);
    let reading = Reading::new(files.iter().collect(), chunks.as_slice());
    let (free, to_fill) = channel();
    let to_fill = Mutex::new(to_fill);
    std::thread::scope(|scope| {
        // It goes with this closure, on whatever way out, and that ends the readers.
        let free = free;
        let (filled, to_write) = channel();
        let mut readers = 0;
        for _ in 0..ring.readers.min(buffers) {
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
        let writing = Writing {
            needs,
            chunks: &chunks,
            free,
            with_readers: 0,
            not_made: buffers,
            buffer_bytes: size,
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
    /// Buffers that are made if the readers cannot keep up without them.
    not_made: usize,
    buffer_bytes: usize,
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
            while let Some(buffer) = sink.reclaim(self.with_readers == 0 && self.not_made == 0)? {
                self.give(buffer);
            }
            let filled = self.next(to_write, sink)?;
            self.with_readers -= 1;
            self.write(filled, sink, follow)?;
        }
        Ok(())
    }

    /// The next full buffer. Drivers take long to pin one, so that new ones are made while the
    /// first ones fill, and only while there is nothing else to do.
    fn next<S: DeviceSink>(
        &mut self,
        to_write: &Receiver<Filled>,
        sink: &mut S,
    ) -> Result<Filled, StreamError> {
        while self.not_made > 0 {
            match to_write.try_recv() {
                Ok(filled) => return Ok(filled),
                Err(TryRecvError::Empty) => {
                    let buffer = sink.host_buffer(self.buffer_bytes)?;
                    self.not_made -= 1;
                    self.give(buffer);
                }
                Err(TryRecvError::Disconnected) => break,
            }
        }
        to_write.recv().map_err(|_| StreamError::Read {
            file: 0,
            error: io::Error::other("the readers have ended early"),
        })
    }

    /// Lets the readers fill a buffer.
    fn give(&mut self, buffer: HostBuffer) {
        // Readers that have ended need no buffer.
        let _ = self.free.send(buffer);
        self.with_readers += 1;
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
