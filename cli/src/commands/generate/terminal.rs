//! Turns the events of a session into lines, bars and files.

use std::path::PathBuf;
use std::time::Instant;

use engine::events::{Activity, MemoryWhen, Values};
use engine::files::atomic;
use engine::image::InitImage;
use engine::record::report::ImageRecord;
use engine::record::{Metadata, Recipe, Trace};
use engine::{Drawn, Error, Event, Observer};

use super::batch::Batch;
use super::lines;
use super::preview::Previews;
use crate::error::CliError;
use crate::progress::{Busy, LoadProgress, Progress, RunTime, StepProgress};
use crate::{console, hints, hold, interrupt};

/// Shows how a batch goes, and writes its images.
pub(super) struct Terminal<'a> {
    batch: &'a Batch<'a>,
    progress: Progress,
    /// How long all images take.
    time: RunTime,
    shown: Shown,
    /// Tensors, if asked for.
    pub(super) trace: Option<Trace>,
    /// The images that were written so far.
    pub(super) images: Vec<ImageRecord>,
    /// How many of the images that are there already were told of.
    made_told: usize,
    previews: Option<Previews>,
}

/// The progress that is shown.
enum Shown {
    Nothing,
    Load(LoadProgress),
    Steps(StepProgress),
    /// It is shown until it is dropped.
    Busy(#[allow(dead_code)] Busy),
}

impl<'a> Terminal<'a> {
    /// Shows a batch of which nothing is done yet.
    pub(super) fn new(batch: &'a Batch<'a>) -> Self {
        let images = batch.job.images().iter();
        Self {
            batch,
            progress: Progress::new(batch.console),
            time: RunTime::of(images.map(|image| image.settled.step_costs())),
            shown: Shown::Nothing,
            trace: batch.config.trace.is_some().then(Trace::default),
            images: Vec::new(),
            made_told: 0,
            previews: Previews::of(batch.config, batch.console),
        }
    }

    /// The number of images that were drawn.
    pub(super) fn drawn(&self) -> usize {
        self.images.iter().filter(|image| !image.skipped).count()
    }

    fn begin(&mut self, activity: Activity) -> Shown {
        let progress = self.progress;
        match activity {
            Activity::Load {
                component,
                host_memory,
            } => Shown::Load(progress.load(&lines::load_message(component, host_memory))),
            Activity::LoadLoras { host_memory } => Shown::Load(progress.load(if host_memory {
                "Loading LoRAs"
            } else {
                "Loading LoRAs to VRAM..."
            })),
            Activity::EncodePrompts => Shown::Busy(progress.busy("Encoding the prompt")),
            Activity::EncodeImage => Shown::Busy(progress.busy("Encoding the init image")),
            Activity::Decode { .. } => Shown::Busy(progress.busy("Decoding the image")),
            Activity::Denoise { index, steps } => {
                let file = &self.batch.files[index];
                let message = match self.batch.total {
                    1 => "Denoising".to_owned(),
                    total => format!("Denoising image {} of {total}", file.place + 1),
                };
                let share = self.time.begin(index, Instant::now());
                if let Some(previews) = &mut self.previews {
                    previews.begin(index, &file.target.path);
                }
                Shown::Steps(progress.steps(&message, steps, share))
            }
        }
    }

    /// Leaves the images that an earlier run has denoised out of the time that is left.
    fn denoised(&mut self, found: &[usize]) {
        let images = self.batch.job.images().iter().enumerate();
        self.time = RunTime::of(images.map(|(index, image)| {
            if found.contains(&index) {
                (0.0, 0)
            } else {
                image.settled.step_costs()
            }
        }));
    }

    fn keep(&mut self, name: &str, shape: &[usize], values: Values<'_>) {
        let Some(trace) = &mut self.trace else {
            return;
        };
        match values {
            Values::F32(values) => trace.add_f32(name, shape, values),
            Values::I64(values) => trace.add_i64(name, shape, values),
        }
    }

    fn write(&mut self, drawn: &Drawn) -> Result<(), CliError> {
        let file = &self.batch.files[drawn.index];
        let bytes = drawn.image.encode(
            file.target.format(),
            self.batch.config.quality,
            &Metadata::of(&drawn.recipe)?,
        )?;
        interrupt::check()?;
        let path = atomic::write_target(&file.target, &bytes)?;
        if let Some(previews) = &mut self.previews {
            previews.end(drawn.index);
        }
        self.tell_made_before(file.place)?;
        self.tell(path, &drawn.recipe, false)
    }

    /// Prints the path of a finished image, and notes it.
    ///
    /// # Errors
    /// [`CliError::Stdout`].
    fn tell(&mut self, path: PathBuf, recipe: &Recipe, skipped: bool) -> Result<(), CliError> {
        console::stdout(&format!("{}\n", path.display()))?;
        // Of a part that was drawn the whole is written.
        let init = self.batch.init.as_deref();
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
        let batch = self.batch;
        while let Some(made) = batch.made.get(self.made_told)
            && made.place < place
        {
            self.made_told += 1;
            self.tell(made.path.clone(), &made.recipe, true)?;
        }
        Ok(())
    }
}

impl Observer for Terminal<'_> {
    fn event(&mut self, event: Event<'_>) {
        let console = self.batch.console;
        match event {
            Event::Note(note) => console.note(&format!("note: {}", hints::note(&note))),
            Event::Status(status) => console.note(&hints::status(&status, self.batch.total)),
            Event::Denoised(found) => self.denoised(&found),
            Event::Begin(activity) => {
                self.shown = Shown::Nothing;
                self.shown = self.begin(activity);
            }
            Event::Bytes { done, total } => {
                if let Shown::Load(bar) = &mut self.shown {
                    bar.show(done, total);
                }
            }
            Event::Step { done, .. } => {
                if let Shown::Steps(bar) = &mut self.shown {
                    bar.done(done);
                }
            }
            Event::End => self.shown = Shown::Nothing,
            Event::Loaded {
                component,
                name,
                report,
            } => {
                console.note(&format!("{report}: {component} {name}"));
                console.detail(&lines::figures(report));
            }
            Event::Streamed {
                component,
                streamed,
                seconds,
            } => console.detail(&lines::streamed(component, streamed, seconds)),
            Event::LoadedLora {
                name,
                targets,
                ranks,
                weight,
                bytes,
                host_memory,
            } => {
                let memory = if host_memory { "memory" } else { "VRAM" };
                console.note(&lines::loaded_lora(
                    &name, targets, ranks, weight, memory, bytes,
                ));
            }
            Event::LoadedLoras(report) => console.detail(&lines::figures(report)),
            Event::Memory {
                when,
                memory,
                budget,
            } => {
                let label = match when {
                    MemoryWhen::Loaded => "VRAM",
                    MemoryWhen::Done => "Final VRAM",
                };
                console.note(&lines::memory(label, budget, memory));
            }
            Event::Kept { .. } => hold::at(hold::Point::Denoised),
            Event::Preview { index, image } => {
                if let (Some(previews), Shown::Steps(bar)) = (&mut self.previews, &self.shown) {
                    previews.show(index, &image, bar);
                }
            }
            Event::Tensor {
                name,
                shape,
                values,
            } => self.keep(name, shape, values),
        }
    }

    fn image(&mut self, drawn: Drawn) -> Result<(), Error> {
        Ok(self.write(&drawn)?)
    }

    fn wants_tensors(&self) -> bool {
        self.trace.is_some()
    }

    fn wants_previews(&self) -> bool {
        self.previews.is_some()
    }

    fn wants_preview(&self, index: usize, step: usize) -> bool {
        let previews = self.previews.as_ref();
        previews.is_some_and(|previews| previews.is_due(index, step))
    }
}
