//! Threads that read round after round.

use std::io;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use backends::upload::HostBuffer;

use super::files::Files;
use super::layout::Layout;
use crate::stream::{Chunk, Filled, Order, Reading};

/// Readers at work. Dropping it waits until reads under way have ended.
pub(super) struct Readers {
    /// Buffers to fill. Without it the readers end.
    free: Option<Sender<HostBuffer>>,
    filled: Receiver<Filled>,
    rounds: Arc<Rounds>,
    host: Option<JoinHandle<()>>,
}

/// The order of reading: the chunks of a layout from one of them on, round after round. What is in
/// host memory is left out.
pub(super) struct Rounds {
    layout: Arc<Layout>,
    /// The chunks to read in the first round, as indices.
    first: Vec<usize>,
    /// Those of each later round; none if there is only one round.
    later: Vec<usize>,
    ended: AtomicBool,
}

impl Rounds {
    /// Begins at a chunk. `is_kept` tells of a chunk whether its bytes are in host memory already.
    /// Unless it is `endless`, the first round ends with the last chunk, and is the only one.
    pub(super) fn new(
        layout: Arc<Layout>,
        begin: usize,
        endless: bool,
        is_kept: &dyn Fn(usize) -> bool,
    ) -> Self {
        let count = layout.chunks.len();
        let wrapped = if endless { 0..begin } else { 0..0 };
        let round: Vec<usize> = (begin..count).chain(wrapped).collect();
        let first = round.iter().copied().filter(|&chunk| !is_kept(chunk));
        let first = first.collect();
        let later = round.into_iter().filter(|&chunk| !layout.cached[chunk]);
        let later = later.filter(|_| endless).collect();
        Self {
            layout,
            first,
            later,
            ended: AtomicBool::new(false),
        }
    }
}

impl Order for Rounds {
    fn chunk(&self, number: usize) -> Option<&Chunk> {
        if self.ended.load(Ordering::Relaxed) {
            return None;
        }
        let index = match number.checked_sub(self.first.len()) {
            None => self.first[number],
            Some(number) => *self.later.get(number.checked_rem(self.later.len())?)?,
        };
        self.layout.chunks.get(index)
    }
}

impl Readers {
    /// Starts to read.
    ///
    /// # Errors
    /// The system has no thread.
    pub(super) fn start<D: Files>(files: Arc<D>, rounds: Rounds) -> io::Result<Self> {
        let (free, to_fill) = channel();
        let (filled_sender, filled) = channel();
        let rounds = Arc::new(rounds);
        let order = rounds.clone();
        let host = std::thread::Builder::new().name("reader".into());
        let host = host.spawn(move || {
            let reading = Reading::new(files.all(), &*order);
            let to_fill = Mutex::new(to_fill);
            std::thread::scope(|scope| {
                for _ in 1..order.layout.readers {
                    let (reading, to_fill, filled) = (&reading, &to_fill, filled_sender.clone());
                    let reader = std::thread::Builder::new().name("reader".into());
                    // Fewer readers do as well.
                    let _ = reader.spawn_scoped(scope, move || reading.run(to_fill, &filled));
                }
                reading.run(&to_fill, &filled_sender);
            });
        })?;
        Ok(Self {
            free: Some(free),
            filled,
            rounds,
            host: Some(host),
        })
    }

    /// Lets the readers fill a buffer.
    pub(super) fn give(&self, buffer: HostBuffer) {
        if let Some(free) = &self.free {
            // Readers that have ended need no buffer.
            let _ = free.send(buffer);
        }
    }

    /// A buffer that has been filled; `None` if there was none for `timeout`.
    ///
    /// # Errors
    /// The readers have ended.
    pub(super) fn next(&self, timeout: Duration) -> io::Result<Option<Filled>> {
        match self.filled.recv_timeout(timeout) {
            Ok(filled) => Ok(Some(filled)),
            Err(RecvTimeoutError::Timeout) => Ok(None),
            Err(RecvTimeoutError::Disconnected) => {
                Err(io::Error::other("the readers have ended early"))
            }
        }
    }
}

impl Drop for Readers {
    fn drop(&mut self) {
        self.rounds.ended.store(true, Ordering::Relaxed);
        self.free = None;
        if let Some(host) = self.host.take() {
            // A reader that panicked has ended as well.
            let _ = host.join();
        }
    }
}
