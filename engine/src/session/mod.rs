//! A session: models that are open, a device, and jobs one after the other.

mod adapters;
mod blocks;
mod damage;
mod decode;
mod denoise;
mod device_peak;
mod draw;
mod embeddings;
mod encode;
mod encode_image;
mod job;
mod leak;
mod lightning;
mod load;
mod modulate;
mod noise_file;
mod phases;
mod prepare;
mod rates;
mod residency;
mod run;
mod settle;
mod start;
mod step_observer;
mod texts;
mod to_host;
mod waiting;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;

use std::any::Any;
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use backends::{BackendKind, DeviceChoice};

use crate::error::Error;
use crate::events::{CancelToken, Event, Guard, NoGuard, Observer};
use crate::files::digest::ModelDigests;
use crate::models::Models;
use crate::models::survey::{self, Survey, VaeEncoderSurvey};
use crate::plan::{PhaseName, Plan, Setting, Subject, Work};
use crate::record::report::Phase;
use crate::request::{ComputeConfig, ModelSources, Request};
use run::{Run, preview_colours};

pub use embeddings::Embeddings;
pub use job::{ImageJob, Job};
pub use residency::Keep;
pub use settle::Settled;

/// Models that are open on a device, for any number of jobs one after the other. Several sessions
/// can be in one process.
///
/// Opening reads the files' headers and checks them; the weights are loaded by the first job that
/// needs them. An error of one job is no error of the next.
pub struct Session {
    /// The files.
    models: Models,
    digests: ModelDigests,
    compute: ComputeConfig,
    /// The device; none where one is only planned for.
    device: Option<DeviceChoice>,
    setting: Setting,
    kept: KeptFolders,
    guard: Arc<dyn Guard>,
    places: Places,
    /// Bytes a second of the transformer's files, once they were measured.
    read_rate: OnceLock<Option<f64>>,
}

/// Folders of what can be computed or measured again.
#[derive(Debug, Clone, Default)]
pub struct KeptFolders {
    /// The folder of prompts' embeddings, if they are kept from job to job.
    pub embeddings: Option<PathBuf>,
    /// The folder of timesteps' modulations, if they are kept from job to job.
    pub modulations: Option<PathBuf>,
    /// The folder of latents that wait for the decoder, if they are kept from run to run.
    pub latents: Option<PathBuf>,
    /// The folder of the rates of disks and devices, if they are kept from run to run.
    pub rates: Option<PathBuf>,
}

/// The models that have stayed in memory, on whatever backends.
#[derive(Default)]
struct Places {
    /// The models on the device.
    device: Option<Box<dyn Any + Send + Sync>>,
    /// The text encoder, where it is elsewhere.
    encoder: Option<Box<dyn Any + Send + Sync>>,
}

/// The figures of a job.
#[derive(Debug, Default)]
pub struct Figures {
    /// Times and memory of every phase, in order.
    pub phases: Vec<Phase>,
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("models", &self.models)
            .field("device", &self.device)
            .field("setting", &self.setting)
            .finish_non_exhaustive()
    }
}

impl Session {
    /// Opens the models, chooses the device and checks that the two fit each other.
    ///
    /// # Errors
    /// A file is missing, damaged or of another model; the device is not there or lacks the number
    /// format that is asked for.
    pub fn open(sources: &ModelSources, compute: ComputeConfig) -> Result<Self, Error> {
        let device = compute.choose(sources)?.device;
        Self::new(Models::open(sources)?, compute, device)
    }

    /// Checks that models that are open already fit a device.
    ///
    /// # Errors
    /// The same as [`Self::open`].
    pub fn new(
        models: Models,
        compute: ComputeConfig,
        device: DeviceChoice,
    ) -> Result<Self, Error> {
        let survey = Survey {
            models: &models,
            dtype: compute.dtype,
        };
        let facts = backends::dispatch(&device, survey)??;
        let setting = Setting::on(&compute, &device, facts);
        Self::with(models, compute, Some(device), setting)
    }

    /// Makes a session that plans for a GPU of `total` bytes, which need not be there, and cannot
    /// draw.
    ///
    /// # Errors
    /// The fault of the models' files.
    pub fn planned(models: Models, compute: ComputeConfig, total: u64) -> Result<Self, Error> {
        if let Some(processor) = survey::processor() {
            // Of a device that is not there nothing can be asked, but the files can be checked.
            let survey = Survey {
                models: &models,
                dtype: compute.dtype,
            };
            backends::dispatch(&processor, survey)??;
        }
        let setting = Setting::on_gpu_of(&compute, total);
        Self::with(models, compute, None, setting)
    }

    fn with(
        models: Models,
        compute: ComputeConfig,
        device: Option<DeviceChoice>,
        setting: Setting,
    ) -> Result<Self, Error> {
        Ok(Self {
            digests: ModelDigests::read(
                &models.transformer.weights,
                &models.text_encoder.weights,
                &models.vae.weights,
            )?,
            models,
            compute,
            device,
            setting,
            kept: KeptFolders::default(),
            guard: Arc::new(NoGuard),
            places: Places::default(),
            read_rate: OnceLock::new(),
        })
    }

    /// Asks `guard` about faults that only a process sees.
    pub fn set_guard(&mut self, guard: Arc<dyn Guard>) {
        self.guard = guard;
    }

    /// Keeps in these folders what can be computed again.
    pub fn keep_in(&mut self, folders: KeptFolders) {
        self.kept = folders;
    }

    /// The models' files.
    pub fn models(&self) -> &Models {
        &self.models
    }

    /// The places where phases run, and their memory.
    pub fn setting(&self) -> &Setting {
        &self.setting
    }

    /// Plans the memory of requests.
    ///
    /// # Errors
    /// Whatever is wrong with a request.
    pub fn plan(&self, requests: &[Request]) -> Result<Plan, Error> {
        let settled = requests.iter().cloned().map(|request| self.settle(request));
        let job = self.job(settled.collect::<Result<_, _>>()?)?;
        Ok(self.plan_of(job.work()))
    }

    /// Plans the memory of some work. Where something is streamed, the plan says how long that
    /// takes; a disk whose rate no earlier run has found is measured, which takes a third of a
    /// second.
    pub fn plan_of(&self, work: Work) -> Plan {
        self.plan_in(&Subject::of(&self.models), work, self.setting)
    }

    /// Plans the memory of some work in a setting, with rates where something is streamed.
    fn plan_in(&self, subject: &Subject, work: Work, setting: Setting) -> Plan {
        let plan = Plan::new(subject, work, setting);
        if plan.phases.iter().all(|phase| phase.streaming.is_none()) {
            return plan;
        }
        Plan::new(subject, work, self.with_rates(setting))
    }

    /// Draws what is asked for. Each image is handed to the observer as soon as it is done.
    ///
    /// # Errors
    /// Whatever is wrong with a request, before anything is loaded; [`Error::Memory`] for what
    /// would not fit; what goes wrong on the way; [`Error::Interrupted`] once `cancel` is
    /// cancelled. The session can be used again after each of them.
    ///
    /// # Panics
    /// If a device fails in a way that Burn has no error for. A caller that catches the panic
    /// can use the session again.
    pub fn generate(
        &mut self,
        requests: Vec<Request>,
        keep: Keep,
        observer: &mut dyn Observer,
        cancel: &CancelToken,
    ) -> Result<Figures, Error> {
        if requests.iter().any(|request| request.image.is_some()) {
            self.open_vae_encoder()?;
        }
        let settled = requests.into_iter().map(|request| self.settle(request));
        let job = self.job(settled.collect::<Result<_, _>>()?)?;
        let images = job.images().iter();
        let notes = job.start_notes().iter().cloned();
        let notes = notes
            .chain(self.lightning_notes(&job))
            .chain(images.filter_map(|image| image.settled.note()))
            .chain(job.text_notes());
        for note in notes {
            observer.event(Event::Note(note));
        }
        let embeddings = self.embeddings(&job);
        if let Some(status) = embeddings.status() {
            observer.event(Event::Status(status));
        }
        self.check(&job, &embeddings)?;
        self.run(&job, embeddings, keep, observer, cancel)
    }

    /// Refuses a job of which a phase would not fit, or more than the host has memory for.
    ///
    /// # Errors
    /// [`Error::Memory`] or [`Error::HostMemory`].
    pub fn check(&self, job: &Job, embeddings: &Embeddings) -> Result<(), Error> {
        let plan = self.plan_of(job.work());
        plan.check_from(if embeddings.complete() {
            PhaseName::EncodeImage
        } else {
            PhaseName::Encode
        })?;
        self.check_host_memory(job, !plan.decodes_beside())
    }

    /// Computes a job.
    ///
    /// # Errors
    /// The same as [`Self::generate`].
    ///
    /// # Panics
    /// The same as [`Self::generate`].
    pub fn run(
        &mut self,
        job: &Job,
        embeddings: Embeddings,
        keep: Keep,
        observer: &mut dyn Observer,
        cancel: &CancelToken,
    ) -> Result<Figures, Error> {
        if job.is_empty() {
            return Ok(Figures::default());
        }
        let Some(device) = self.device else {
            return Err(Error::Request(
                "a session for a device that is not there can only plan".to_owned(),
            ));
        };
        let colours = preview_colours(self, observer)?;
        // What is taken out comes back only if all goes well.
        let mut places = std::mem::take(&mut self.places);
        if keep == Keep::OneAtATime {
            places = Places::default();
        }
        let mut run = Run::new(self, job, keep, colours, observer, cancel);
        let drawn = run.draw(&mut places, &device, embeddings);
        let phases = std::mem::take(&mut run.phases);
        let stay = run.leaves_models(&drawn);
        if stay {
            self.places = places;
        }
        drawn.map(|()| Figures { phases })
    }

    /// Drops all models that have stayed in memory.
    pub fn release(&mut self) {
        self.places = Places::default();
    }

    /// Finds the VAE's encoder, which only an image to start from needs, unless it was found
    /// before.
    fn open_vae_encoder(&mut self) -> Result<(), Error> {
        if self.models.vae_encoder.is_some() {
            return Ok(());
        }
        self.models.open_vae_encoder()?;
        if let Some(device) = self.device.or_else(survey::processor) {
            backends::dispatch(&device, VaeEncoderSurvey(&self.models))??;
        }
        Ok(())
    }

    /// The device that encodes prompts, if the rest is done on `device`.
    fn encoder_device(&self, device: &DeviceChoice) -> DeviceChoice {
        if self.compute.splits_encoder(device.kind) {
            DeviceChoice {
                kind: BackendKind::Flex,
                index: 0,
            }
        } else {
            *device
        }
    }

    /// Tells of a fault on another thread since a mark.
    fn check_device(&self, mark: u64) -> Result<(), Error> {
        match self.guard.fault_since(mark) {
            Some(message) => Err(Error::device_fails(&message)),
            None => Ok(()),
        }
    }
}
