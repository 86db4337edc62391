//! A run under way: loads and drops one model at a time, checks each before, and gathers figures.

use std::path::PathBuf;
use std::time::Instant;

use backends::{DeviceChoice, DeviceMemory, ModelBackend, UnfilledModule};
use burn::module::Module;
use engine::Error;
use engine::bytes::format_bytes;
use engine::image::InitImage;
use engine::record::{Recipe, Trace};
use loader::{Component, LoadReport, WatchedFiles, Weights};
use model::vae::Tiling;

use super::device_peak::DevicePeak;
use super::image_job::ImageJob;
use super::job::Job;
use super::leak::leaked;
use super::preview::Previews;
use super::waiting::Waiting;
use crate::console;
use crate::error::CliError;
use crate::mapping_fault::Named;
use crate::models;
use crate::output::report::{ImageRecord, Phase, Unload};
use crate::panics;
use crate::plan::{Budget, PhaseName, PhasePlan, Plan, Setting, Subject, Work};
use crate::progress::{Progress, RunTime};

/// What a run knows and has gathered.
pub(super) struct Run<'a> {
    /// What is to be computed.
    pub(super) job: &'a Job<'a>,
    /// Where, and with how much memory.
    pub(super) setting: Setting,
    /// Displays.
    pub(super) progress: Progress,
    /// How long all images take.
    pub(super) time: RunTime,
    /// Times and memory so far.
    pub(super) phases: Vec<Phase>,
    /// What was written so far.
    pub(super) images: Vec<ImageRecord>,
    /// Tensors, if asked for.
    pub(super) trace: Option<Trace>,
    /// How many of [`Job::made`] were told of.
    made_told: usize,
    /// Previews, if asked for.
    pub(super) previews: Option<Previews>,
    /// Latents on disk.
    pub(super) waiting: Waiting,
    subject: Subject,
    work: Work,
}

/// A model in memory.
pub(super) struct Loaded<M> {
    /// It.
    pub(super) module: M,
    /// What its phase needs, as checked before it was loaded.
    pub(super) planned: PhasePlan,
    /// Its place in [`Run::phases`].
    record: usize,
    device_used_before: Option<u64>,
    /// Its files, where it is used from their mappings.
    mapped: Option<Mapped>,
}

/// Files that a model is used from. Fields are dropped in this order: a file is closed once it is
/// no longer looked at.
struct Mapped {
    _named: Named,
    files: WatchedFiles,
}

impl<M> Loaded<M> {
    /// Fails if a file that the model is used from has been written to: what was computed with it
    /// is then worth nothing.
    ///
    /// # Errors
    /// [`LoadError::ChangedInUse`](loader::LoadError::ChangedInUse).
    pub(super) fn check_files(&self) -> Result<(), CliError> {
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

impl<'a> Run<'a> {
    /// Nothing done yet.
    ///
    /// # Errors
    /// As of [`Previews::of`].
    pub(super) fn new(job: &'a Job<'a>, setting: Setting) -> Result<Self, CliError> {
        Ok(Self {
            job,
            setting,
            progress: Progress::new(job.console),
            time: RunTime::of(job.images.iter().map(ImageJob::step_costs)),
            phases: Vec::new(),
            images: Vec::new(),
            trace: job.config.trace.is_some().then(Trace::default),
            made_told: 0,
            subject: Subject::of(&job.models),
            work: job.work(),
            previews: Previews::of(job)?,
            waiting: Waiting::default(),
        })
    }

    /// Finds the latents that an earlier run has left, which are no work of this one.
    pub(super) fn look_for_latents(&mut self, device: &DeviceChoice) {
        self.waiting = Waiting::of(self.job, device);
        let images = self.job.images.iter().enumerate();
        self.time = RunTime::of(images.map(|(index, image)| {
            if self.waiting.holds(index) {
                (0.0, 0)
            } else {
                image.step_costs()
            }
        }));
    }

    /// The plan with the memory that there is now.
    pub(super) fn plan_now<B: ModelBackend>(&self, device: &B::Device) -> Plan {
        let setting = self.setting.now::<B>(device);
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
    /// [`CliError::Memory`] before anything is read; whatever is wrong with the file; Ctrl-C.
    pub(super) fn load<B: ModelBackend, M: Module<B>>(
        &mut self,
        phase: PhaseName,
        module: UnfilledModule<M>,
        weights: &Weights,
        device: &B::Device,
    ) -> Result<Loaded<M>, CliError> {
        let plan = self.plan_now::<B>(device);
        plan.check_phase(phase)?;
        let planned = plan.phase(phase);
        let planned = planned
            .ok_or_else(|| CliError::internal(format!("{} is not planned", phase.as_str())))?;

        let message = load_message(weights.component(), B::HOST_MEMORY);
        let mut observer = self.progress.load(&message);
        let peak = follow::<B>(device);
        let files = WatchedFiles::open(weights)?;
        let (module, report) =
            loader::load_by(self.setting.weights, module, weights, device, &mut observer)?;
        panics::check()?;
        let device_peak = peak.finish();
        drop(observer);
        let console = self.job.console;
        console.note(&format!(
            "{report}: {} {}",
            weights.component(),
            models::name(weights)
        ));
        console.detail(&figures(&report));
        self.tell_memory::<B>("VRAM", device);

        let limit = self.setting.budget.limit;
        let record = self.phases.len();
        self.phases
            .push(Phase::load(phase, &report, limit, device_peak));
        Ok(Loaded {
            module,
            planned: *planned,
            record,
            device_used_before: report.device_used_before,
            mapped: (report.mapped_bytes > 0).then(|| Mapped {
                _named: Named::of(&files),
                files,
            }),
        })
    }

    /// Notes what loading LoRAs took.
    pub(super) fn loaded_adapters(&mut self, report: &LoadReport) {
        self.job.console.detail(&figures(report));
        let limit = self.setting.budget.limit;
        self.phases.push(Phase::load_adapters(report, limit));
    }

    /// Drops a model and sees that its memory is free again.
    ///
    /// # Errors
    /// In debug builds, [`CliError::Leak`] if it is not; in others that is a warning.
    pub(super) fn unload<B: ModelBackend, M>(
        &mut self,
        loaded: Loaded<M>,
        device: &B::Device,
    ) -> Result<(), CliError> {
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
        if let Some(phase) = self.phases.get_mut(record) {
            phase.unloaded(Unload {
                device_used_after_drop: left,
                device_freed: held.zip(left).map(|(held, left)| held.saturating_sub(left)),
            });
        }
        let (Some(before), Some(left)) = (device_used_before, left) else {
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
            return Err(leak.into());
        }
        self.job.console.note(&format!("warning: {leak}"));
        Ok(())
    }

    /// Prints the path of a finished image, and notes it.
    ///
    /// # Errors
    /// [`CliError::Stdout`].
    pub(super) fn tell(
        &mut self,
        path: PathBuf,
        recipe: &Recipe,
        skipped: bool,
    ) -> Result<(), CliError> {
        console::stdout(&format!("{}\n", path.display()))?;
        // Of a part that was drawn the whole is written.
        let init = self.job.init.as_ref();
        let whole = init.filter(|init| init.mask_crop.is_some());
        let drawn = (recipe.width, recipe.height);
        let (width, height) = whole.map_or(drawn, InitImage::dimensions);
        self.images.push(ImageRecord {
            path,
            seed: recipe.seed,
            width,
            height,
            steps: recipe.steps,
            skipped,
        });
        Ok(())
    }

    /// Tells of the images of earlier runs whose place is before this one: paths are printed in
    /// the order in which images were asked for.
    ///
    /// # Errors
    /// [`CliError::Stdout`].
    pub(super) fn tell_made_before(&mut self, place: usize) -> Result<(), CliError> {
        let job = self.job;
        while let Some(made) = job.made.get(self.made_told)
            && made.place < place
        {
            self.made_told += 1;
            self.tell(made.path.clone(), &made.recipe, true)?;
        }
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
    pub(super) fn tell_memory<B: ModelBackend>(&self, label: &str, device: &B::Device) {
        if let Some(memory) = B::memory(device) {
            let line = memory_line(label, self.setting.budget, memory);
            self.job.console.note(&line);
        }
    }
}

/// What is said while a model is loaded.
fn load_message(component: Component, host_memory: bool) -> String {
    if host_memory {
        format!("Loading the {component}")
    } else {
        format!("Loading {component} to VRAM...")
    }
}

fn follow<B: ModelBackend>(device: &B::Device) -> DevicePeak {
    let device = device.clone();
    DevicePeak::follow(move || B::memory(&device).as_ref().map(DeviceMemory::used))
}

/// As `VRAM: 19.03 GiB / 27.01 GiB limit`.
fn memory_line(label: &str, budget: Budget, memory: DeviceMemory) -> String {
    let (of, what) = match budget.limit {
        Some(limit) => (limit, "limit"),
        None => (memory.total, "total"),
    };
    format!(
        "{label}: {} / {} {what}",
        format_bytes(budget.held(memory)),
        format_bytes(of)
    )
}

/// What `--verbose` adds about a load.
fn figures(report: &LoadReport) -> String {
    // Of a mapping the bytes come later, as they are used.
    let mut line = match report.mapped_bytes {
        0 => format!("{:.2} GB/s", report.bytes_per_second() / 1e9),
        mapped => format!("{} used in place in the file", format_bytes(mapped)),
    };
    let known = [
        (", peak host memory", report.peak_anonymous_bytes),
        (", device memory in use", report.device_used_after),
    ];
    for (name, bytes) in known {
        if let Some(bytes) = bytes {
            line.push_str(&format!("{name} {}", format_bytes(bytes)));
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use backends::DeviceMemory;
    use loader::Component;

    use super::{load_message, memory_line};
    use crate::plan::Budget;

    #[test]
    fn a_load_is_told_by_where_the_model_goes() {
        let message = |host| load_message(Component::Transformer, host);
        assert_eq!(message(false), "Loading transformer to VRAM...");
        assert_eq!(message(true), "Loading the transformer");
    }

    #[test]
    fn memory_is_told_beside_the_limit_or_the_total() {
        let mib = 1 << 20;
        let memory = DeviceMemory {
            free: 11_000 * mib,
            total: 32_000 * mib,
        };
        let budget = |limit| Budget {
            limit,
            used_before: 1_000 * mib,
        };
        assert_eq!(
            memory_line("VRAM", budget(Some(29_000_000_000)), memory),
            "VRAM: 19.53 GiB / 27.01 GiB limit"
        );
        assert_eq!(
            memory_line("Final VRAM", budget(None), memory),
            "Final VRAM: 19.53 GiB / 31.25 GiB total"
        );
    }
}
