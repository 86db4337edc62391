//! A job under way: loads and drops models, checks each before, and gathers figures.

use std::time::Instant;

use backends::{DeviceMemory, ModelBackend};
use loader::{LoadReport, StreamFigures};
use model::preview::LatentRgb;
use model::vae::Tiling;

use super::Session;
use super::device_peak::DevicePeak;
use super::job::Job;
use super::residency::Keep;
use super::waiting::Waiting;
use crate::error::Error;
use crate::events::{CancelToken, Event, MemoryWhen, Note, Observer, Status, Values};
use crate::plan::{PhasePlan, Plan, Setting, Subject, Work};
use crate::record::report::{Phase, Streamed};

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

/// A phase that computes.
pub(super) struct Computing {
    started: Instant,
    peak: DevicePeak,
}

/// Finds the colours of latents, if the observer wants previews.
///
/// # Errors
/// [`Error::Config`] for a VAE whose latents have no known colours.
pub(super) fn preview_colours(
    session: &Session,
    observer: &dyn Observer,
) -> Result<Option<LatentRgb>, Error> {
    let vae = &session.models.vae;
    let colours = observer.wants_previews().then(|| {
        LatentRgb::resolve(vae.weights.config(), vae.config.z_dim)
            .map_err(Error::config(vae.weights.source()))
    });
    colours.transpose()
}

impl<'a> Run<'a> {
    /// Begins a job, with the [colours](preview_colours) of its previews.
    pub(super) fn new(
        session: &'a Session,
        job: &'a Job,
        keep: Keep,
        colours: Option<LatentRgb>,
        observer: &'a mut dyn Observer,
        cancel: &'a CancelToken,
    ) -> Self {
        Self {
            session,
            job,
            setting: session.setting,
            keep,
            observer,
            cancel,
            mark: session.guard.mark(),
            phases: Vec::new(),
            colours,
            subject: Subject::of(&session.models),
            work: job.work(),
            waiting: Waiting::default(),
        }
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
        self.session.plan_in(&self.subject, self.work, setting)
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
            setting.give_back(planned.place, planned.kept_bytes());
        }
        self.session.plan_in(&self.subject, self.work, setting)
    }

    /// Decodes in these tiles from now on, whatever is free later: beside the transformer there is
    /// no room for larger ones.
    pub(super) fn settle_tiling(&mut self, tiling: Tiling) {
        self.work.decoder_tiling = Some(tiling);
    }

    /// Notes what loading LoRAs took.
    pub(super) fn loaded_adapters(&mut self, report: &LoadReport) {
        self.observer.event(Event::LoadedLoras(report));
        let limit = self.setting.budget.limit;
        self.phases.push(Phase::load_adapters(report, limit));
    }

    /// Begins a phase that computes.
    pub(super) fn compute<B: ModelBackend>(&self, device: &B::Device) -> Computing {
        Computing {
            started: Instant::now(),
            peak: follow::<B>(device),
        }
    }

    /// Notes the figures of a phase that has computed, or of another turn of it, and what was
    /// streamed meanwhile.
    pub(super) fn computed(
        &mut self,
        computing: Computing,
        planned: &PhasePlan,
        streamed: Option<StreamFigures>,
    ) {
        let seconds = computing.started.elapsed().as_secs_f64();
        let peak = computing.peak.finish();
        let streamed = planned.streaming.zip(streamed);
        let streamed = streamed.map(|(streaming, figures)| Streamed::new(&streaming, figures));
        if let Some(streamed) = &streamed {
            self.observer.event(Event::Streamed {
                component: planned.model,
                streamed,
                seconds,
            });
        }
        let name = planned.phase.as_str();
        match self.phases.iter_mut().find(|phase| phase.name == name) {
            Some(phase) => phase.add_turn(seconds, peak, streamed),
            None => self.phases.push(Phase::compute(
                planned.phase,
                seconds,
                planned.working_bytes,
                peak,
                streamed,
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

pub(super) fn follow<B: ModelBackend>(device: &B::Device) -> DevicePeak {
    let device = device.clone();
    DevicePeak::follow(move || B::memory(&device).as_ref().map(DeviceMemory::used))
}
