//! The images of one run of `generate` and where they go.

use std::sync::Arc;

use backends::DeviceChoice;
use engine::files::Target;
use engine::image::InitImage;
use engine::plan::dtype_str;
use engine::record::report::Report;
use engine::record::{Metadata, Recipe};
use engine::{Embeddings, Error, Job, Keep, Session, Settled};

use super::made::{Made, already_made};
use super::replacing::{self, ByRecipe};
use super::request::Wanted;
use super::terminal::Terminal;
use crate::args::GenerateConfig;
use crate::bad_lines::BadLines;
use crate::console::Console;
use crate::error::CliError;
use crate::exit::ExitCode;
use crate::{hints, interrupt};

/// The images that will be made, and their files.
#[derive(Debug)]
pub(super) struct Batch<'a> {
    /// The flags.
    pub(super) config: &'a GenerateConfig,
    pub(super) console: Console,
    /// The images that are left to compute.
    pub(super) job: Job,
    /// The files of the job's images, in their order.
    pub(super) files: Vec<PlacedFile>,
    /// The images that are there already.
    pub(super) made: Vec<Made>,
    /// The image that all start from.
    pub(super) init: Option<Arc<InitImage>>,
    /// The number of images that were asked for in all.
    pub(super) total: usize,
}

/// The file of an image, and the image's place among all.
#[derive(Debug)]
pub(super) struct PlacedFile {
    /// Counted from 0.
    pub(super) place: usize,
    /// The file.
    pub(super) target: Target,
}

/// An image whose file is known.
enum Prepared {
    /// It is there already.
    Made(Box<Made>),
    /// It is to be made.
    ToMake(Box<Settled>, Target),
}

impl Prepared {
    fn new(
        session: &Session,
        config: &GenerateConfig,
        place: usize,
        wanted: Wanted,
    ) -> Result<Self, CliError> {
        let settled = session.settle(wanted.request)?;
        let target = if wanted.target.waits_for_digest() {
            wanted.target.with_digest(&settled.recipe.digest()?)
        } else {
            wanted.target
        };
        Metadata::of(&settled.recipe)?.check_fits(&target.path)?;
        if config.resume
            && let Some(path) = already_made(&target, &settled.recipe)
        {
            let recipe = settled.recipe;
            return Ok(Self::Made(Box::new(Made {
                place,
                path,
                recipe,
            })));
        }
        Ok(Self::ToMake(Box::new(settled), target))
    }

    /// The image's file and its recipe.
    fn file(&self) -> (&std::path::Path, &Recipe) {
        match self {
            Self::Made(made) => (&made.path, &made.recipe),
            Self::ToMake(settled, target) => (&target.path, &settled.recipe),
        }
    }
}

impl<'a> Batch<'a> {
    /// Settles all images, and looks which are there already.
    ///
    /// # Errors
    /// Whatever is wrong with a file.
    pub(super) fn prepare(
        config: &'a GenerateConfig,
        session: &Session,
        init: Option<Arc<InitImage>>,
        wanted: Vec<Wanted>,
        console: Console,
    ) -> Result<Self, CliError> {
        let (mut settled, mut files, mut made) = (Vec::new(), Vec::new(), Vec::new());
        let mut bad = BadLines::default();
        let total = wanted.len();
        let mut by_recipe = ByRecipe::default();
        for (place, wanted) in wanted.into_iter().enumerate() {
            let origin = wanted.origin.clone();
            let origin = origin.as_deref();
            let named_by_recipe = wanted.target.waits_for_digest();
            let prepared = Prepared::new(session, config, place, wanted);
            if named_by_recipe && let Ok(prepared) = &prepared {
                let (path, recipe) = prepared.file();
                if let Some(first) = by_recipe.add(path, recipe, origin)? {
                    let line = origin.unwrap_or_default();
                    console.note(&format!(
                        "note: {line} asks for the very image of {first}, which is made once"
                    ));
                    continue;
                }
            }
            match (prepared, origin) {
                (Ok(Prepared::ToMake(image, target)), _) => {
                    settled.push(*image);
                    files.push(PlacedFile { place, target });
                }
                (Ok(Prepared::Made(image)), _) => {
                    let path = image.path.display();
                    console.note(&format!("skipping {path}: already made"));
                    made.push(*image);
                }
                (Err(error), Some(origin)) if error.exit_code() == ExitCode::Usage => {
                    bad.push(place, origin, error);
                }
                (Err(error), _) => return Err(error),
            }
        }
        bad.check()?;
        if let (Some(from), Some(image)) = (&config.from, settled.first())
            && let Some(notice) = from.check_contents(&image.recipe)
        {
            console.note(&format!("note: {notice}"));
        }
        let batch = Self {
            config,
            console,
            job: session.job(settled)?,
            files,
            made,
            init,
            total,
        };
        batch.tell(batch.job.start_notes());
        if !config.dry_run {
            replacing::check(&batch)?;
        }
        batch.describe(session);
        Ok(batch)
    }

    fn tell(&self, notes: &[engine::events::Note]) {
        for note in notes {
            self.console.note(&format!("note: {}", hints::note(note)));
        }
    }

    fn describe(&self, session: &Session) {
        let models = session.models();
        for weights in [
            &models.text_encoder.weights,
            &models.transformer.weights,
            &models.vae.weights,
        ] {
            self.console.detail(&format!(
                "The {}: {}, {}",
                weights.component(),
                weights.source().display(),
                weights.dialect()
            ));
        }
        for (lora, weight) in models.adapters.loras() {
            self.console.detail(&format!(
                "LoRA: {}, weight {weight}",
                lora.source().display()
            ));
        }
        self.tell(&session.lightning_notes(&self.job));
        for (image, file) in self.job.images().iter().zip(&self.files) {
            let settled = &image.settled;
            self.tell(settled.note().as_slice());
            self.console.detail(&format!(
                "{}: {}x{}, {} steps of {}, schedule {}, {} prompt tokens",
                file.target.path.display(),
                settled.width,
                settled.height,
                settled.schedule.steps(),
                settled.sampling.sampler.label(),
                settled.sampling.schedule,
                self.job.prompt_tokens(image)
            ));
        }
        self.tell(&self.job.text_notes());
    }

    /// Computes and writes everything.
    ///
    /// # Errors
    /// The errors of the session; Ctrl-C.
    pub(super) fn run(
        self,
        session: &mut Session,
        device: &DeviceChoice,
        embeddings: Embeddings,
    ) -> Result<(), CliError> {
        let mut terminal = Terminal::new(&self);
        let cancel = interrupt::token();
        let keep = Keep::OneAtATime;
        let figures = session
            .run(&self.job, embeddings, keep, &mut terminal, cancel)
            .map_err(|error| match error {
                Error::Interrupted if self.total > 1 => self.interrupted(terminal.drawn()),
                error => error.into(),
            })?;
        terminal.tell_made_before(usize::MAX)?;
        let Terminal { trace, images, .. } = terminal;
        if let (Some(trace), Some(path)) = (trace, &self.config.trace) {
            trace.write(path)?;
        }
        let (Some(path), Some(first)) = (&self.config.report, self.first()) else {
            return Ok(());
        };
        let image = self.job.images().first().map(|image| &image.settled);
        let report = Report {
            version: env!("CARGO_PKG_VERSION"),
            backend: device.kind.name(),
            device: device.index,
            dtype: dtype_str(session.setting().dtype),
            width: first.width,
            height: first.height,
            steps: first.steps,
            model_calls: image.map_or(0, Settled::model_calls),
            sampling: first.sampling(),
            cfg_scale: image.map_or(first.cfg_scale, |image| image.cfg_scale),
            guided: first.negative_prompt.is_some(),
            images,
            phases: figures.phases,
        };
        Ok(report.write(path)?)
    }

    /// The recipe of the first image that is made, or else of the first that is there.
    fn first(&self) -> Option<&Recipe> {
        let made = || self.made.first().map(|made| &made.recipe);
        let mut images = self.job.images().iter();
        let first = images.next().map(|image| &image.settled.recipe);
        first.or_else(made)
    }

    /// How far the work came before Ctrl-C, and how it goes on.
    fn interrupted(&self, drawn: usize) -> CliError {
        let mut images = self.job.images().iter();
        let seed = images.next().map_or(0, |image| image.settled.seed);
        let again = match (self.config.resume, self.config.seed) {
            (true, _) => "the same command goes on with the rest".to_owned(),
            (false, Some(_)) => "with --resume, the same command goes on with the rest".to_owned(),
            (false, None) => {
                format!("with --seed {seed} --resume, the same command goes on with the rest")
            }
        };
        CliError::InterruptedRun {
            done: self.made.len() + drawn,
            total: self.total,
            again,
        }
    }
}
