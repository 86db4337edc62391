//! A job under way: loads and drops models, checks each before, and gathers figures.

use std::time::Instant;

use backends::{DeviceMemory, ModelBackend, UnfilledModule};
use burn::module::Module;
use loader::{LoadObserver, LoadReport, WatchedFiles, Weights};
use model::preview::LatentRgb;
use model::vae::Tiling;

use super::Session;
use super::device_peak::DevicePeak;
use super::job::Job;
use super::leak::leaked;
use super::residency::Keep;
use super::waiting::Waiting;
use crate::error::Error;
use crate::events::{Activity, CancelToken, Event, MemoryWhen, Note, Observer, Status, Values};
use crate::models;
use crate::plan::{PhaseName, PhasePlan, Plan, Setting, Subject, Work};
use crate::record::report::{Phase, Unload};

/// A job under way, with the figures that it has gathered.
pub(super) struct Run<'a> {
    /// The session.
    pub(super) session: &'a Session,
    /// The job.
    pub(super) job: &'a Job,
    /// The places where phases run, and their memory.
    pub(super) setting: Setting,
    /// Which models stay.
    pub(super) keep: Keep,
    /// Who is told.
    pub(super) observer: &'a mut dyn Observer,
    /// How the caller ends it.
    pub(super) cancel: &'a CancelToken,
    /// The faults before this one are not this job's.
    pub(super) mark: u64,
    /// Times and memory so far.
    pub(super) phases: Vec<Phase>,
    /// The colours of latents, if previews are wanted.
    pub(super) colours: Option<LatentRgb>,
    /// Latents on disk.
    pub(super) waiting: Waiting,
    subject: Subject,
    work: Work,
}

/// A model in memory.
pub(super) struct Loaded<M> {
    /// The model.
    pub(super) module: M,
    /// The plan of its phase, as checked before it was loaded.
    pub(super) planned: PhasePlan,
    /// The index of its load in [`Run::phases`], in the job that has loaded it.
    record: Option<usize>,
    device_used_before: Option<u64>,
    /// The files of the model, where it is used from their mappings.
    mapped: Option<Mapped>,
}

/// Files that a model is used from. Fields are dropped in this order: a file is closed once it is
/// no longer looked at.
struct Mapped {
    _watched: Box<dyn Send + Sync>,
    files: WatchedFiles,
}

impl<M> Loaded<M> {
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

/// A phase that computes.
pub(super) struct Computing {
    started: Instant,
    peak: DevicePeak,
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

impl<'a> Run<'a> {
    /// Begins a job.
    ///
    /// # Errors
    /// [`Error::Config`] where previews are wanted of a VAE whose latents have no known colours.
    pub(super) fn new(
        session: &'a Session,
        job: &'a Job,
        keep: Keep,
        observer: &'a mut dyn Observer,
        cancel: &'a CancelToken,
    ) -> Result<Self, Error> {
        let vae = &session.models.vae;
        let colours = observer.wants_previews().then(|| {
            LatentRgb::resolve(vae.weights.config(), vae.config.z_dim)
                .map_err(Error::config(vae.weights.source()))
        });
        Ok(Self {
            session,
            job,
            setting: session.setting,
            keep,
            observer,
            cancel,
            mark: session.guard.mark(),
            phases: Vec::new(),
            colours: colours.transpose()?,
            subject: Subject::of(&session.models),
            work: job.work(),
            waiting: Waiting::default(),
        })
    }

    /// Tells what the user should know.
    pub(super) fn note(&mut self, note: Note) {
        self.observer.event(Event::Note(note));
    }

    /// Tells how the work goes.
    pub(super) fn tell(&mut self, status: Status) {
        self.observer.event(Event::Status(status));
    }

    /// Tells an intermediate result of f32 values, if such are wanted.
    pub(super) fn trace(&mut self, name: &str, shape: &[usize], values: &[f32]) {
        if self.observer.wants_tensors() {
            self.observer.event(Event::Tensor {
                name,
                shape,
                values: Values::F32(values),
            });
        }
    }

    /// Tells an intermediate result of whole numbers, if such are wanted.
    pub(super) fn trace_whole(&mut self, name: &str, shape: &[usize], values: &[i64]) {
        if self.observer.wants_tensors() {
            self.observer.event(Event::Tensor {
                name,
                shape,
                values: Values::I64(values),
            });
        }
    }

    /// Tells of a panic on another thread since the job began, so that nothing is made of what
    /// that thread left undone.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`] or [`Error::DeviceFails`].
    pub(super) fn check_device(&self) -> Result<(), Error> {
        self.session.check_device(self.mark)
    }

    /// Tells whether models are released in order after this outcome, to stay or to be unloaded.
    /// After a failure nothing is made of what the device holds, and they are dropped.
    pub(super) fn leaves_models<T>(&self, outcome: &Result<T, Error>) -> bool {
        match outcome {
            Ok(_) => true,
            Err(Error::Interrupted) => self.keep == Keep::WhatFits,
            Err(_) => false,
        }
    }

    /// Makes the plan with the memory that there is now.
    pub(super) fn plan_now<B: ModelBackend>(&self, device: &B::Device) -> Plan {
        let setting = self.setting.now::<B>(device);
        Plan::new(&self.subject, self.work, setting)
    }

    /// Makes the plan with the memory that there is now and what models hold that stay, as if
    /// nothing were loaded.
    pub(super) fn plan_without<B: ModelBackend>(
        &self,
        held: &[PhasePlan],
        device: &B::Device,
    ) -> Plan {
        let mut setting = self.setting.now::<B>(device);
        for planned in held {
            setting.give_back(planned.place, planned.weight_bytes());
        }
        Plan::new(&self.subject, self.work, setting)
    }

    /// Decodes in these tiles from now on, whatever is free later: beside the transformer there is
    /// no room for larger ones.
    pub(super) fn settle_tiling(&mut self, tiling: Tiling) {
        self.work.decoder_tiling = Some(tiling);
    }

    /// Loads the model of a phase, once it is sure to fit, and tells of it.
    ///
    /// # Errors
    /// [`Error::Memory`] before anything is read; whatever is wrong with the file;
    /// [`Error::Interrupted`].
    pub(super) fn load<B: ModelBackend, M: Module<B>>(
        &mut self,
        phase: PhaseName,
        module: UnfilledModule<M>,
        weights: &Weights,
        device: &B::Device,
    ) -> Result<Loaded<M>, Error> {
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
        let loaded = loader::load_by(self.setting.weights, module, weights, device, &mut loading);
        let (module, report) = loaded?;
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
    pub(super) fn reuse<M>(&self, mut loaded: Loaded<M>, plan: &Plan) -> Result<Loaded<M>, Error> {
        let phase = loaded.planned.phase;
        plan.check_phase(phase)?;
        let planned = plan.phase(phase);
        loaded.planned = *planned
            .ok_or_else(|| Error::Internal(format!("{} is not planned", phase.as_str())))?;
        loaded.record = None;
        loaded.check_files()?;
        Ok(loaded)
    }

    /// Notes what loading LoRAs took.
    pub(super) fn loaded_adapters(&mut self, report: &LoadReport) {
        self.observer.event(Event::LoadedLoras(report));
        let limit = self.setting.budget.limit;
        self.phases.push(Phase::load_adapters(report, limit));
    }

    /// Drops a model and sees that its memory is free again.
    ///
    /// # Errors
    /// In debug builds, [`Error::Leak`] if it is not; in others that is a warning.
    pub(super) fn unload<B: ModelBackend, M>(
        &mut self,
        loaded: Loaded<M>,
        device: &B::Device,
    ) -> Result<(), Error> {
        let Loaded {
            module,
            planned,
            record,
            device_used_before,
            mapped: _,
        } = loaded;
        let used = || B::memory(device).as_ref().map(DeviceMemory::used);
        let held = used();
        drop(module);
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
        let weights = planned.fp8_bytes + planned.other_bytes;
        let Some(bytes) = leaked(before, left, weights) else {
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

    /// Begins a phase that computes.
    pub(super) fn compute<B: ModelBackend>(&self, device: &B::Device) -> Computing {
        Computing {
            started: Instant::now(),
            peak: follow::<B>(device),
        }
    }

    /// Notes the figures of a phase that has computed, or of another turn of it.
    pub(super) fn computed(&mut self, computing: Computing, planned: &PhasePlan) {
        let seconds = computing.started.elapsed().as_secs_f64();
        let peak = computing.peak.finish();
        let name = planned.phase.as_str();
        match self.phases.iter_mut().find(|phase| phase.name == name) {
            Some(phase) => phase.add_turn(seconds, peak),
            None => self.phases.push(Phase::compute(
                planned.phase,
                seconds,
                planned.working_bytes,
                peak,
            )),
        }
    }

    /// Tells how much of the device this process holds, where its driver tells.
    pub(super) fn tell_memory<B: ModelBackend>(&mut self, when: MemoryWhen, device: &B::Device) {
        if let Some(memory) = B::memory(device) {
            self.observer.event(Event::Memory {
                when,
                memory,
                budget: self.setting.budget,
            });
        }
    }
}

fn follow<B: ModelBackend>(device: &B::Device) -> DevicePeak {
    let device = device.clone();
    DevicePeak::follow(move || B::memory(&device).as_ref().map(DeviceMemory::used))
}
