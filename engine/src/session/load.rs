//! Loads and drops models.

use std::sync::{Mutex, PoisonError};

use backends::{DeviceMemory, ModelBackend, UnfilledModule};
use burn::module::Module;
use loader::{
    Deferred, LoadError, LoadObserver, StreamFigures, StreamOptions, WatchedFiles, WeightStream,
    Weights,
};

use super::blocks::{Blocks, Pace};
use super::leak::leaked;
use super::residency::Keep;
use super::run::{Run, follow};
use crate::error::Error;
use crate::events::{Activity, CancelToken, Event, MemoryWhen, Observer, Status};
use crate::models;
use crate::plan::{
    PhaseName, PhasePlan, Plan, Streaming, is_table, modulated_block, streamed_block,
};
use crate::record::report::{Phase, Unload};

/// A model in memory.
pub(super) struct Loaded<B: ModelBackend, M> {
    /// The model.
    pub(super) module: M,
    /// The plan of its phase, as checked before it was loaded.
    pub(super) planned: PhasePlan,
    /// The index of its load in [`Run::phases`], in the job that has loaded it.
    record: Option<usize>,
    device_used_before: Option<u64>,
    /// The weights that the load left out.
    pub(super) deferred: Deferred,
    /// The stream of the weights that do not stay in memory, if there are any.
    stream: Option<Mutex<WeightStream<B>>>,
    /// The files of the model, where it is used from their mappings.
    mapped: Option<Mapped>,
}

/// Files that a model is used from. Fields are dropped in this order: a file is closed once it is
/// no longer looked at.
struct Mapped {
    _watched: Box<dyn Send + Sync>,
    files: WatchedFiles,
}

impl<B: ModelBackend, M> Loaded<B, M> {
    /// Lends modules of the model, each of which is a block.
    pub(super) fn blocks<'a, N: Module<B>>(
        &'a self,
        modules: &'a [N],
        cancel: &'a CancelToken,
        pace: Option<&'a Pace>,
    ) -> Blocks<'a, B, N> {
        Blocks::new(modules, self.stream.as_ref(), cancel, pace)
    }

    /// The figures of its stream, if it has one.
    pub(super) fn streamed(&self) -> Option<StreamFigures> {
        let stream = self.stream.as_ref()?.lock();
        Some(stream.unwrap_or_else(PoisonError::into_inner).figures())
    }

    /// Fails if a file that the model is used from has been written to: what was computed with it
    /// is then worth nothing.
    ///
    /// # Errors
    /// [`LoadError::ChangedInUse`](loader::LoadError::ChangedInUse).
    pub(super) fn check_files(&self) -> Result<(), Error> {
        Ok(self
            .mapped
            .as_ref()
            .map_or(Ok(()), |mapped| mapped.files.check())?)
    }
}

/// Tells the observer how far a load is.
pub(super) struct Loading<'a> {
    pub(super) observer: &'a mut dyn Observer,
    pub(super) cancel: &'a CancelToken,
}

impl LoadObserver for Loading<'_> {
    fn progress(&mut self, done: u64, total: u64) {
        self.observer.event(Event::Bytes { done, total });
    }

    fn cancelled(&self) -> bool {
        self.cancel.is_cancelled()
    }
}

impl Run<'_> {
    /// Loads the model of a phase, once it is sure to fit, and tells of it. If the device has less
    /// memory by then than the plan has counted on, the plan is made once more with what is left.
    ///
    /// # Errors
    /// [`Error::Memory`] before anything is read; whatever is wrong with the file;
    /// [`Error::Interrupted`].
    pub(super) fn load<B: ModelBackend, M: Module<B>>(
        &mut self,
        phase: PhaseName,
        module: impl Fn() -> UnfilledModule<M>,
        weights: &Weights,
        device: &B::Device,
    ) -> Result<Loaded<B, M>, Error> {
        match self.load_planned(phase, module(), weights, device) {
            Err(Error::Load(LoadError::OutOfMemory { .. })) => {
                self.observer.event(Event::End);
                B::release_unused(device);
                self.load_planned(phase, module(), weights, device)
            }
            loaded => loaded,
        }
    }

    fn load_planned<B: ModelBackend, M: Module<B>>(
        &mut self,
        phase: PhaseName,
        module: UnfilledModule<M>,
        weights: &Weights,
        device: &B::Device,
    ) -> Result<Loaded<B, M>, Error> {
        let plan = self.plan_now::<B>(device);
        plan.check_phase(phase)?;
        let planned = plan.phase(phase);
        let planned =
            planned.ok_or_else(|| Error::Internal(format!("{} is not planned", phase.as_str())))?;

        let component = weights.component();
        self.observer.event(Event::Begin(Activity::Load {
            component,
            host_memory: B::HOST_MEMORY,
        }));
        let peak = follow::<B>(device);
        let files = WatchedFiles::open(weights)?;
        let mut loading = Loading {
            observer: self.observer,
            cancel: self.cancel,
        };
        let streaming = planned.streaming;
        let group_of = |name: &str| streamed_block(component, name, streaming.as_ref()?);
        let read_once = planned.read_once_bytes > 0;
        let defer = |name: &str| {
            if modulated_block(component, name).is_some() {
                return read_once;
            }
            let is_read_by_rows = streaming.is_some() && is_table(component, name);
            is_read_by_rows || group_of(name).is_some()
        };
        let (module, deferred, report) = loader::load_deferring(
            self.setting.weights,
            module,
            weights,
            &defer,
            device,
            &mut loading,
        )?;
        let stream = streaming
            .map(|streaming| {
                let options = options(&streaming, phase);
                WeightStream::open(weights, &deferred, &group_of, options, device).map(Mutex::new)
            })
            .transpose()?;
        self.check_device()?;
        let device_peak = peak.finish();
        self.observer.event(Event::End);
        self.observer.event(Event::Loaded {
            component,
            name: &models::name(weights),
            report: &report,
        });
        self.tell_memory::<B>(MemoryWhen::Loaded, device);

        let limit = self.setting.budget.limit;
        let record = self.phases.len();
        self.phases
            .push(Phase::load(phase, &report, limit, device_peak));
        Ok(Loaded {
            module,
            planned: *planned,
            record: Some(record),
            device_used_before: report.device_used_before,
            deferred,
            stream,
            mapped: (report.mapped_bytes > 0).then(|| Mapped {
                _watched: self.session.guard.watch(&files),
                files,
            }),
        })
    }

    /// Takes a model that an earlier job has left in memory.
    ///
    /// # Errors
    /// [`Error::Memory`] if its phase does not fit, whatever else is dropped.
    pub(super) fn reuse<B: ModelBackend, M>(
        &self,
        mut loaded: Loaded<B, M>,
        plan: &Plan,
    ) -> Result<Loaded<B, M>, Error> {
        let phase = loaded.planned.phase;
        plan.check_phase(phase)?;
        let planned = plan.phase(phase);
        let planned = *planned
            .ok_or_else(|| Error::Internal(format!("{} is not planned", phase.as_str())))?;
        // The blocks that stay are those that it was loaded with.
        loaded.planned = match loaded.planned.streaming {
            Some(streaming) => PhasePlan {
                streaming: Some(streaming),
                peak_bytes: loaded.planned.weight_bytes() + planned.working_bytes,
                ..planned
            },
            None => planned,
        };
        loaded.record = None;
        loaded.check_files()?;
        Ok(loaded)
    }

    /// Drops a model and sees that its memory is free again.
    ///
    /// # Errors
    /// In debug builds, [`Error::Leak`] if it is not; in others that is a warning.
    pub(super) fn unload<B: ModelBackend, M>(
        &mut self,
        loaded: Loaded<B, M>,
        device: &B::Device,
    ) -> Result<(), Error> {
        let Loaded {
            module,
            planned,
            record,
            device_used_before,
            deferred: _,
            stream,
            mapped: _,
        } = loaded;
        let used = || B::memory(device).as_ref().map(DeviceMemory::used);
        let held = used();
        drop((module, stream));
        B::release_unused(device);
        let left = used();
        if let Some(phase) = record.and_then(|record| self.phases.get_mut(record)) {
            phase.unloaded(Unload {
                device_used_after_drop: left,
                device_freed: held.zip(left).map(|(held, left)| held.saturating_sub(left)),
            });
        }
        // Beside models that stay, nothing tells whose memory it is.
        let before = device_used_before.filter(|_| self.keep == Keep::OneAtATime);
        let (Some(before), Some(left)) = (before, left) else {
            return Ok(());
        };
        let Some(bytes) = leaked(before, left, planned.weight_bytes()) else {
            return Ok(());
        };
        let leak = Error::Leak {
            what: planned.model.to_string(),
            bytes,
        };
        if cfg!(debug_assertions) {
            return Err(leak);
        }
        self.tell(Status::Leak(leak.to_string()));
        Ok(())
    }
}

/// How the blocks of a phase are streamed: round after round, but for the text encoder's.
fn options(streaming: &Streaming, phase: PhaseName) -> StreamOptions {
    StreamOptions {
        slots: streaming.slots,
        ram_cache: streaming.ram_cache_bytes,
        endless: phase != PhaseName::Encode,
    }
}
