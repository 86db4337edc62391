//! The side that computes: lends the weights of one group at a time.

use std::cell::Cell;
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use backends::storage::ModelBackend;
use backends::upload::{MemoryId, SlotSink, Slots, UploadError};
use burn::module::{Module, ParamId};

use super::StreamOptions;
use super::beside::Beside;
use super::feeder::{Feeder, Ready, Returned};
use super::figures::{Counters, StreamFigures};
use super::files::Files;
use super::layout::Layout;
use crate::error::LoadError;
use crate::record::{Filler, Loaded, StoredAs};
use crate::source::read_error;
use crate::stream::StreamError;

/// The weights of a stream, and the files that hold them.
pub(super) struct Streamed<D> {
    /// The path of the checkpoint.
    pub(super) path: PathBuf,
    pub(super) layout: Layout,
    pub(super) files: D,
}

/// Lends groups of weights over a sink `K`, out of files `D`.
pub(super) struct Lender<B: ModelBackend, K: SlotSink<B>, D> {
    path: PathBuf,
    layout: Arc<Layout>,
    files: Arc<D>,
    counters: Arc<Counters>,
    endless: bool,
    /// Whether the feeder has a thread of its own.
    beside: bool,
    memories: Vec<MemoryId>,
    slots: K::Slots,
    side: Side<B, K, D>,
    /// The group that comes next, unless the order was broken.
    next: Option<usize>,
    groups_lent: u64,
    seconds_waited: f64,
    seconds_stalled: f64,
}

/// Where the feeder is.
enum Side<B: ModelBackend, K: SlotSink<B>, D> {
    Here(Box<Feeder<B, K, D>>),
    Beside(Beside<B, K, D>),
    /// It panicked.
    Gone,
}

impl<B, K, D> Lender<B, K, D>
where
    B: ModelBackend,
    K: SlotSink<B> + Send + 'static,
    D: Files,
{
    /// Takes the slots and begins with the first group.
    pub(super) fn new(
        streamed: Streamed<D>,
        options: StreamOptions,
        beside: bool,
        mut sink: K,
    ) -> Result<Self, LoadError> {
        let Streamed {
            path,
            layout,
            files,
        } = streamed;
        let count = match layout.groups.is_empty() {
            true => 0,
            false => options.slots.max(1),
        };
        let memories = (0..count).map(|_| sink.allocate(layout.slot_bytes));
        let memories: Result<Vec<MemoryId>, UploadError> = memories.collect();
        let memories = memories.map_err(|error| LoadError::upload(&path, error))?;
        let slots = sink.slots();
        let (layout, files) = (Arc::new(layout), Arc::new(files));
        let counters = Arc::new(Counters::default());
        let feeder = Feeder::new(
            layout.clone(),
            files.clone(),
            counters.clone(),
            options.endless,
            sink,
            memories.clone(),
        );
        let mut lender = Self {
            path,
            layout,
            files,
            counters,
            endless: options.endless,
            beside,
            memories,
            slots,
            side: Side::Here(Box::new(feeder)),
            next: None,
            groups_lent: 0,
            seconds_waited: 0.0,
            seconds_stalled: 0.0,
        };
        if !lender.layout.groups.is_empty() {
            lender.begin(0)?;
        }
        Ok(lender)
    }

    /// Begins, again if need be, with a group.
    fn begin(&mut self, group: usize) -> Result<(), LoadError> {
        let mut feeder = match std::mem::replace(&mut self.side, Side::Gone) {
            Side::Here(feeder) => feeder,
            Side::Beside(mut beside) => match beside.end() {
                Some(feeder) => Box::new(feeder),
                None => return Err(self.gone()),
            },
            Side::Gone => return Err(self.gone()),
        };
        let used = self.slots.used();
        let begun = used.map_err(StreamError::Upload);
        let begun = begun.and_then(|used| feeder.begin(group, &used));
        self.side = match (&begun, self.beside) {
            (Ok(()), true) => {
                let beside = Beside::start(*feeder);
                Side::Beside(beside.map_err(|error| LoadError::io(&self.path, error))?)
            }
            _ => Side::Here(feeder),
        };
        begun.map_err(|error| self.error(error))?;
        self.next = Some(group);
        Ok(())
    }

    pub(super) fn with_group<M: Module<B>, T>(
        &mut self,
        key: usize,
        module: &M,
        cancelled: &dyn Fn() -> bool,
        work: impl FnOnce(&M) -> T,
    ) -> Result<T, LoadError> {
        if cancelled() {
            return Err(LoadError::Cancelled);
        }
        let Some(group) = self.layout.find(key) else {
            return Ok(work(module));
        };
        let since = Instant::now();
        if self.next != Some(group) {
            self.begin(group)?;
        }
        // Unless all goes well, panics of the work included, the order is broken.
        self.next = None;
        let ready = self.wait(cancelled);
        self.seconds_waited += since.elapsed().as_secs_f64();
        let Ready { slot, written } = ready.map_err(|error| self.error(error))?;

        let lent = self.slots.read_after(&written);
        let lent = lent.and_then(|()| self.lend(group, slot));
        let lent = lent.map_err(|error| LoadError::upload(&self.path, error))?;
        let module = module.clone().map(&mut Filler { loaded: lent });
        let result = work(&module);
        // No tensor of the slot may be left when its use is marked.
        drop(module);
        let used = self.slots.used();
        let used = used.map_err(|error| LoadError::upload(&self.path, error))?;
        let returned = Returned { slot, used };
        match &mut self.side {
            Side::Here(feeder) => feeder.take(returned),
            Side::Beside(beside) => beside.give_back(returned),
            Side::Gone => {}
        }
        let next = (group + 1) % self.layout.groups.len();
        self.next = (next != 0 || self.endless).then_some(next);
        self.groups_lent += 1;
        Ok(result)
    }

    /// Waits until the bytes of the next group are on their way.
    fn wait(&mut self, cancelled: &dyn Fn() -> bool) -> Result<Ready<K::Written>, StreamError> {
        if let Side::Beside(beside) = &self.side
            && let Some(ready) = beside.try_wait()
        {
            return ready;
        }
        // From when on the device has nothing to do.
        let idle = Cell::new(None);
        let given = self.slots.used()?;
        let cancelled = || {
            if idle.get().is_none() && self.slots.has_passed(&given) {
                idle.set(Some(Instant::now()));
            }
            cancelled()
        };
        let ready = match &mut self.side {
            Side::Here(feeder) => feeder.fill(&cancelled)?,
            Side::Beside(beside) => Some(beside.wait(&cancelled)?),
            Side::Gone => None,
        };
        let stalled = idle.get().map_or(0.0, |idle| idle.elapsed().as_secs_f64());
        self.seconds_stalled += stalled;
        ready.ok_or_else(|| StreamError::Caller(self.gone()))
    }

    /// Tensors over the weights of a group in a slot.
    fn lend(&self, group: usize, slot: usize) -> Result<HashMap<ParamId, Loaded<B>>, UploadError> {
        let memory = self.memories[slot];
        let weights = self.layout.groups[group].weights.iter();
        let tensors = weights.map(|weight| {
            let (offset, shape) = (weight.offset, &weight.shape);
            let tensor = match weight.stored_as {
                StoredAs::Codes => Loaded::Int(self.slots.codes_in(memory, offset, shape)?),
                StoredAs::Floats(dtype) => {
                    Loaded::Float(self.slots.floats_in(memory, offset, shape, dtype)?)
                }
            };
            Ok((weight.id, tensor))
        });
        tensors.collect()
    }

    pub(super) fn figures(&self) -> StreamFigures {
        let layout = &self.layout;
        let buffers = |count: usize| (count * layout.buffer_bytes) as u64;
        let cached = layout.cached.iter().filter(|cached| **cached);
        let mut figures = StreamFigures {
            groups: self.groups_lent,
            seconds_waited: self.seconds_waited,
            seconds_stalled: self.seconds_stalled,
            slot_bytes: (self.memories.len() * layout.slot_bytes) as u64,
            ring_bytes: buffers(layout.buffers),
            cache_bytes: buffers(cached.count()),
            ..StreamFigures::default()
        };
        self.counters.enter(&mut figures);
        figures
    }

    fn error(&self, error: StreamError) -> LoadError {
        match error {
            StreamError::Read { file, error } => read_error(self.files.path(file), error),
            StreamError::Upload(error) => LoadError::upload(&self.path, error),
            StreamError::Caller(error) => error,
        }
    }

    /// The error of a feeder that panicked.
    fn gone(&self) -> LoadError {
        let message = "the thread that streams weights has ended".into();
        LoadError::upload(&self.path, UploadError::Device(message))
    }
}
