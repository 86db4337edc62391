//! A feeder on a thread of its own.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, TryRecvError, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use backends::upload::SlotSink;
use burn::tensor::backend::Backend;

use super::feeder::{Feeder, Ready, Returned};
use super::files::Files;
use crate::error::LoadError;
use crate::stream::StreamError;

/// The longest time between two questions whether to stop.
const TICK: Duration = Duration::from_millis(1);

/// A feeder that fills slots while the caller computes. Dropping it ends the feeder.
pub(super) struct Beside<B: Backend, K: SlotSink<B>, D> {
    /// Slots to fill again. Without it the feeder ends.
    returned: Option<Sender<Returned<K::Used>>>,
    ready: Receiver<Result<Ready<K::Written>, StreamError>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<Feeder<B, K, D>>>,
}

impl<B, K, D> Beside<B, K, D>
where
    B: Backend,
    K: SlotSink<B> + Send + 'static,
    D: Files,
{
    /// Starts a thread for a feeder that has begun.
    ///
    /// # Errors
    /// The system has no thread. The feeder is gone then.
    pub(super) fn start(feeder: Feeder<B, K, D>) -> io::Result<Self> {
        let (returned, to_fill) = channel();
        let (filled, ready) = channel();
        let stop = Arc::new(AtomicBool::new(false));
        let told = stop.clone();
        let thread = std::thread::Builder::new().name("feeder".into());
        let thread = thread.spawn(move || run(feeder, &to_fill, &filled, &told))?;
        Ok(Self {
            returned: Some(returned),
            ready,
            stop,
            thread: Some(thread),
        })
    }

    /// The next group, if it has come.
    pub(super) fn try_wait(&self) -> Option<Result<Ready<K::Written>, StreamError>> {
        self.ready.try_recv().ok()
    }

    /// Waits for the next group.
    ///
    /// # Errors
    /// [`LoadError::Cancelled`] once `cancelled` says so; whatever ended the feeder.
    pub(super) fn wait(
        &self,
        cancelled: &dyn Fn() -> bool,
    ) -> Result<Ready<K::Written>, StreamError> {
        loop {
            match self.ready.recv_timeout(TICK) {
                Ok(ready) => return ready,
                Err(RecvTimeoutError::Timeout) if cancelled() => {
                    return Err(StreamError::Caller(LoadError::Cancelled));
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => {
                    let error = io::Error::other("the thread that reads has ended early");
                    return Err(StreamError::Read { file: 0, error });
                }
            }
        }
    }

    /// Lets the feeder fill a slot again.
    pub(super) fn give_back(&self, returned: Returned<K::Used>) {
        // A feeder that has ended has told why, or does so when the next group is asked for.
        if let Some(sender) = &self.returned {
            let _ = sender.send(returned);
        }
    }
}

impl<B: Backend, K: SlotSink<B>, D> Beside<B, K, D> {
    /// Ends the thread and takes its feeder; `None` if it panicked.
    pub(super) fn end(&mut self) -> Option<Feeder<B, K, D>> {
        self.stop.store(true, Ordering::Relaxed);
        self.returned = None;
        self.thread.take()?.join().ok()
    }
}

impl<B: Backend, K: SlotSink<B>, D> Drop for Beside<B, K, D> {
    fn drop(&mut self) {
        let _ = self.end();
    }
}

/// Fills slots until told to stop, or something fails.
fn run<B: Backend, K: SlotSink<B>, D: Files>(
    mut feeder: Feeder<B, K, D>,
    returned: &Receiver<Returned<K::Used>>,
    filled: &Sender<Result<Ready<K::Written>, StreamError>>,
    stop: &AtomicBool,
) -> Feeder<B, K, D> {
    let stop = || stop.load(Ordering::Relaxed);
    loop {
        let step = wait_for_slot(&mut feeder, returned);
        let step = step.and_then(|go_on| match go_on {
            true => feeder.fill(&stop),
            false => Ok(None),
        });
        let ready = match step {
            Ok(Some(ready)) => Ok(ready),
            Ok(None) => return feeder,
            Err(error) => Err(error),
        };
        let failed = ready.is_err();
        if filled.send(ready).is_err() || failed {
            return feeder;
        }
    }
}

/// Waits until there is a slot to fill; `false` if none will come any more.
fn wait_for_slot<B: Backend, K: SlotSink<B>, D: Files>(
    feeder: &mut Feeder<B, K, D>,
    returned: &Receiver<Returned<K::Used>>,
) -> Result<bool, StreamError> {
    loop {
        match returned.try_recv() {
            Ok(slot) => feeder.take(slot),
            Err(_) if feeder.has_free_slot() => return Ok(true),
            Err(TryRecvError::Disconnected) => return Ok(false),
            // The readers fill the ring meanwhile, for which they need its buffers.
            Err(TryRecvError::Empty) if feeder.reclaim()? => {}
            Err(TryRecvError::Empty) => match returned.recv() {
                Ok(slot) => feeder.take(slot),
                Err(_) => return Ok(false),
            },
        }
    }
}
