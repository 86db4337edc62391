//! The readers' side of a ring.

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender};
use std::sync::{Mutex, PoisonError};

use backends::upload::HostBuffer;

use super::chunks::Chunk;
use crate::source::{ReadAt, fill};

/// The chunks that are read, one after the other.
pub(crate) trait Order: Sync {
    /// The chunk that is read as the `number`th, or `None` once there is none to read.
    fn chunk(&self, number: usize) -> Option<&Chunk>;
}

impl Order for [Chunk] {
    fn chunk(&self, number: usize) -> Option<&Chunk> {
        self.get(number)
    }
}

impl<T: Order + ?Sized> Order for &T {
    fn chunk(&self, number: usize) -> Option<&Chunk> {
        (**self).chunk(number)
    }
}

/// A buffer that was read into.
pub(crate) struct Filled {
    /// Its chunk's number in the order.
    pub(crate) number: usize,
    pub(crate) buffer: HostBuffer,
    pub(crate) result: io::Result<()>,
}

/// The work that readers share.
pub(crate) struct Reading<'a, F, O> {
    files: Vec<&'a F>,
    order: O,
    next: AtomicUsize,
}

impl<'a, F: ReadAt, O: Order> Reading<'a, F, O> {
    /// Nothing of the order has been read.
    pub(crate) fn new(files: Vec<&'a F>, order: O) -> Self {
        let next = AtomicUsize::new(0);
        Self { files, order, next }
    }

    /// Reads chunk after chunk until there are none, or the other side has gone.
    pub(crate) fn run(&self, to_fill: &Mutex<Receiver<HostBuffer>>, filled: &Sender<Filled>) {
        loop {
            let free = to_fill
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .recv();
            let Ok(mut buffer) = free else { return };
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            let Some(chunk) = self.order.chunk(number) else {
                return;
            };
            let file = self.files[chunk.file];
            let result = fill(file, &mut buffer, chunk.start, chunk.needed);
            let filled = filled.send(Filled {
                number,
                buffer,
                result,
            });
            if filled.is_err() {
                return;
            }
        }
    }
}
