//! One run of `generate`, settled down to the token: all that is left is to compute.

use std::collections::HashSet;

use backends::{Arithmetic, BackendKind, DeviceChoice, ModelBackend, OnBackend, host_memory};
use burn::tensor::FloatDType;
use engine::Error;
use engine::files::digest::ModelDigests;
use engine::image::{InitImage, Region};
use engine::record::Recipe;
use model::init_image::LatentMask;
use model::tokenizer::PromptTokens;

use super::draw::{Draw, Encoded};
use super::embeddings::Embeddings;
use super::encode::Encode;
use super::encode_image::EncodeImage;
use super::image_job::{ImageJob, Made, Prepared};
use super::lightning;
use super::replacing::{self, ByRecipe};
use super::request::Request;
use super::run::Run;
use super::texts::Texts;
use crate::adapters::lightning_is_assumed;
use crate::args::GenerateConfig;
use crate::bad_lines::BadLines;
use crate::console::Console;
use crate::error::CliError;
use crate::hints;
use crate::models::Models;
use crate::output::report::Report;
use crate::plan::{Setting, Work, dtype_str};

/// Makes a device ready for some arithmetic.
struct Prepare(Console, Arithmetic, FloatDType);

impl OnBackend for Prepare {
    type Output = ();

    fn run<B: ModelBackend>(self, device: B::Device) {
        if let Err(reason) = B::prepare(&device) {
            self.0.note(&format!(
                "note: without kernels of its own for this device, the program is slow: {reason}"
            ));
        }
        if self.1 == Arithmetic::Fp8 && !B::multiplies_fp8(&device, self.2) {
            self.0.note(
                "note: no FP8 products with this device and number format: --fp8-compute rounds as \
                 they would, and gains nothing",
            );
        }
    }
}

/// A size that the image to start from is encoded at.
#[derive(Debug)]
pub(super) struct Start {
    /// Pixels across and down.
    pub(super) size: (u32, u32),
    /// What is repainted.
    pub(super) mask: Option<LatentMask>,
}

/// What will be computed.
#[derive(Debug)]
pub(super) struct Job<'a> {
    /// The flags.
    pub(super) config: &'a GenerateConfig,
    /// Where progress goes.
    pub(super) console: Console,
    /// The files, none loaded.
    pub(super) models: Models,
    /// The texts of all images, each once.
    pub(super) texts: Vec<PromptTokens>,
    /// The image to start from, if there is one.
    pub(super) init: Option<InitImage>,
    /// What is known of it at each size that is drawn; none without one.
    pub(super) starts: Vec<Start>,
    /// The images that are to be made, in that order.
    pub(super) images: Vec<ImageJob>,
    /// Those that are there already.
    pub(super) made: Vec<Made>,
    /// How many were asked for in all.
    pub(super) total: usize,
}

impl<'a> Job<'a> {
    /// Reads the texts and the noise, and looks which images are there already. What is computed
    /// in `dtype` is another image than in another number format.
    ///
    /// # Errors
    /// Whatever is wrong with a file.
    pub(super) fn prepare(
        config: &'a GenerateConfig,
        models: Models,
        init: Option<InitImage>,
        requests: Vec<Request>,
        dtype: FloatDType,
        console: Console,
    ) -> Result<Self, CliError> {
        let digests = ModelDigests::read(
            &models.transformer.weights,
            &models.text_encoder.weights,
            &models.vae.weights,
        )?;
        let models_here = (&models, &digests);
        let mut texts = Texts::default();
        let (mut images, mut made) = (Vec::new(), Vec::new());
        let mut bad = BadLines::default();
        let total = requests.len();
        let mut by_recipe = ByRecipe::default();
        for (place, request) in requests.into_iter().enumerate() {
            let origin = request.origin.clone();
            let origin = origin.as_deref();
            let named_by_recipe = request.target.waits_for_digest();
            let init = init.as_ref();
            let prepared =
                Prepared::new(place, request, config, models_here, dtype, init, &mut texts);
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
                (Ok(Prepared::ToMake(image)), _) => images.push(*image),
                (Ok(Prepared::Made(image)), _) => {
                    let path = image.path.display();
                    console.note(&format!("skipping {path}: already made"));
                    made.push(*image);
                }
                (
                    Err(error @ (CliError::Usage(_) | CliError::Engine(Error::Request(_)))),
                    Some(origin),
                ) => bad.push(place, origin, error),
                (Err(error), _) => return Err(error),
            }
        }
        bad.check()?;
        if let (Some(from), Some(image)) = (&config.from, images.first())
            && let Some(notice) = from.check_contents(&image.recipe)
        {
            console.note(&format!("note: {notice}"));
        }
        let starts = match &init {
            Some(init) => starts(init, &images, console),
            None => Vec::new(),
        };
        let job = Self {
            init,
            starts,
            images,
            made,
            total,
            config,
            console,
            models,
            texts: texts.into_tokens(),
        };
        if !config.dry_run {
            replacing::check(&job)?;
        }
        job.describe();
        Ok(job)
    }

    fn describe(&self) {
        let models = &self.models;
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
        if let Some(steps) = models.lightning
            && lightning_is_assumed(&models.adapters, steps)
        {
            self.console.note(&format!(
                "note: --lightning {steps}: no LoRA's name says that it is the Lightning LoRA \
                 for {steps} steps; one named by --lora is taken for it"
            ));
        }
        if let Some(notice) = lightning::notice(models, &self.images) {
            self.console.note(&format!("note: {notice}"));
        }
        for image in &self.images {
            let prompt = &self.texts[image.prompt];
            let (steps, asked) = (image.schedule.steps(), image.recipe.steps);
            // Of levels that are listed only a part may be run.
            if steps < asked && image.sampling.schedule.listed_steps().is_none() {
                self.console.note(&format!(
                    "note: --schedule {} has {steps} different noise levels for {asked} steps",
                    image.sampling.schedule
                ));
            }
            self.console.detail(&format!(
                "{}: {}x{}, {} steps of {}, schedule {}, {} prompt tokens",
                image.target.path.display(),
                image.width,
                image.height,
                image.schedule.steps(),
                image.sampling.sampler.label(),
                image.sampling.schedule,
                prompt.kept
            ));
        }
        if self.texts.iter().any(|text| text.kept == 1) {
            self.console.note(
                "note: a prompt without the template has no <|im_start|> in it, and ComfyUI gives \
                 the transformer only the last token of such a prompt",
            );
        }
        for text in self.texts.iter().filter(|text| text.cut > 0) {
            self.console.note(&format!(
                "note: a prompt has {} tokens, and the transformer gets the first {}: the rest \
                 is left out",
                text.kept + text.cut,
                text.kept
            ));
        }
    }

    /// Its sizes, for a plan of its memory.
    pub(super) fn work(&self) -> Work {
        let area = |image: &&ImageJob| u64::from(image.width) * u64::from(image.height);
        let largest = self.images.iter().max_by_key(area);
        let work = Work {
            width: largest.map_or(0, |image| image.width),
            height: largest.map_or(0, |image| image.height),
            encoder_tokens: 0,
            text_tokens: 0,
            guided: self.images.iter().any(|image| image.negative.is_some()),
            images: self.images.len(),
            decoder_tiling: None,
        };
        work.with_texts(&self.texts)
    }

    /// Where prompts are encoded, if the rest is done on `device`.
    pub(super) fn encoder_device(&self, device: &DeviceChoice) -> DeviceChoice {
        if self.config.compute.splits_encoder(device.kind) {
            DeviceChoice {
                kind: BackendKind::Flex,
                index: 0,
            }
        } else {
            *device
        }
    }

    /// Refuses more texts than the host has memory for, and more latents where they `wait` until
    /// all are made.
    ///
    /// # Errors
    /// [`CliError::HostMemory`].
    pub(super) fn check_host_memory(&self, wait: bool) -> Result<(), CliError> {
        let channels = self.models.text_encoder.config.hidden_size as u64;
        let embeds: u64 = self
            .texts
            .iter()
            .map(|text| 4 * channels * text.kept as u64)
            .sum();
        let features = self.models.transformer.config.in_channels as u64;
        let latents = |image: &ImageJob| 4 * features * image.grid().tokens() as u64;
        let latents: u64 = self.images.iter().map(latents).sum();
        let needed = embeds + if wait { latents } else { 0 };
        match host_memory::available() {
            Some(available) if needed > available => {
                Err(Error::HostMemory { needed, available }.into())
            }
            _ => Ok(()),
        }
    }

    /// The recipe of the first image that is made, or else of the first that is there.
    fn first(&self) -> Option<&Recipe> {
        let made = || self.made.first().map(|made| &made.recipe);
        let first = self.images.first().map(|image| &image.recipe);
        first.or_else(made)
    }

    /// Computes and writes everything.
    ///
    /// # Errors
    /// What goes wrong on the way; Ctrl-C.
    pub(super) fn run(
        self,
        device: &DeviceChoice,
        setting: Setting,
        embeds: Embeddings,
    ) -> Result<(), CliError> {
        let mut run = Run::new(&self, setting)?;
        self.draw(&mut run, device, embeds)
            .map_err(|error| match error {
                CliError::Engine(Error::Interrupted) if self.total > 1 => self.interrupted(&run),
                error => error,
            })?;
        run.tell_made_before(usize::MAX)?;
        self.record(run, device)
    }

    /// How far the work came before Ctrl-C, and how it goes on.
    fn interrupted(&self, run: &Run<'_>) -> CliError {
        let drawn = run.images.iter().filter(|image| !image.skipped);
        let seed = self.images.first().map_or(0, |image| image.seed);
        let again = match (self.config.resume, self.config.seed) {
            (true, _) => "the same command goes on with the rest".to_owned(),
            (false, Some(_)) => "with --resume, the same command goes on with the rest".to_owned(),
            (false, None) => {
                format!("with --seed {seed} --resume, the same command goes on with the rest")
            }
        };
        CliError::InterruptedRun {
            done: self.made.len() + drawn.count(),
            total: self.total,
            again,
        }
    }

    /// Draws what is to be made.
    fn draw(
        &self,
        run: &mut Run<'_>,
        device: &DeviceChoice,
        embeds: Embeddings,
    ) -> Result<(), CliError> {
        if self.images.is_empty() {
            return Ok(());
        }
        let setting = run.setting;
        backends::dispatch(
            device,
            Prepare(self.console, self.config.compute.arithmetic, setting.dtype),
        )?;
        run.look_for_latents(device);
        let (embeds, moments) = if run.waiting.complete() {
            (Vec::new(), Vec::new())
        } else {
            let embeds = if embeds.complete() {
                embeds.into_all()?
            } else {
                let run = &mut *run;
                backends::dispatch(&self.encoder_device(device), Encode { run, embeds })??
            };
            (embeds, backends::dispatch(device, EncodeImage(run))??)
        };
        let draw = Draw {
            run,
            encoded: Encoded { embeds, moments },
        };
        backends::dispatch(device, draw)?
    }

    /// Writes the records that were asked for.
    fn record(&self, run: Run<'_>, device: &DeviceChoice) -> Result<(), CliError> {
        let setting = run.setting;
        if let (Some(trace), Some(path)) = (&run.trace, &self.config.trace) {
            trace.write(path)?;
        }
        if let (Some(path), Some(first)) = (&self.config.report, self.first()) {
            let report = Report {
                version: env!("CARGO_PKG_VERSION"),
                backend: device.kind.name(),
                device: device.index,
                dtype: dtype_str(setting.dtype),
                width: first.width,
                height: first.height,
                steps: first.steps,
                model_calls: self.images.first().map_or(0, ImageJob::model_calls),
                sampling: first.sampling(),
                cfg_scale: match self.images.first() {
                    Some(image) => image.cfg_scale,
                    None => first.cfg_scale,
                },
                guided: first.negative_prompt.is_some(),
                images: run.images,
                phases: run.phases,
            };
            report.write(path)?;
        }
        Ok(())
    }
}

/// Opens the models' files and checks them, also against the image that is made again.
///
/// # Errors
/// Whatever is wrong with a file.
pub(super) fn open_models(
    config: &GenerateConfig,
    init: Option<&InitImage>,
    console: Console,
) -> Result<Models, CliError> {
    let from = config.from.as_ref();
    let tell = |notice: Option<String>| {
        if let Some(notice) = notice {
            console.note(&format!("note: {notice}"));
        }
    };
    let mut models = Models::open(&config.sources, |name| {
        let sources = &config.sources;
        let chosen = sources.transformer.is_some() || sources.checkpoint.is_some();
        if let Some(from) = from {
            let notice = from.check_model(name, chosen)?;
            let foreign = from
                .foreign()
                .map(|made| hints::foreign(&from.path, made, name));
            tell(notice.or(foreign));
        }
        Ok(())
    })?;
    for note in &models.notes {
        console.note(&format!("note: {note}"));
    }
    if init.is_some() {
        models.open_vae_encoder()?;
    }
    if let Some(from) = from {
        let stamp = init.map(|init| &init.stamp);
        let mask_stamp = init.and_then(|init| init.mask_stamp.as_ref());
        tell(from.check_stamps(stamp, mask_stamp));
        tell(from.check_loras(&models.used_loras));
    }
    Ok(models)
}

/// The mask at each size that is drawn, with a note on what may surprise. The image's own pixels
/// are many times as large, and are resized when they are encoded.
fn starts(init: &InitImage, images: &[ImageJob], console: Console) -> Vec<Start> {
    let mut starts = Vec::new();
    let mut seen = HashSet::new();
    for image in images {
        let size = (image.width, image.height);
        if !seen.insert(size) {
            continue;
        }
        let (width, height) = init.dimensions();
        let drawn = format!("{}x{}", image.width, image.height);
        if let Some(region) = init.region(image.width, image.height) {
            let Region {
                left,
                top,
                width,
                height,
            } = region;
            console.note(&format!(
                "note: of the init image the {width}x{height} pixels from {left},{top} on are drawn, \
                 at {drawn}"
            ));
        } else if size != (width, height) {
            console.note(&format!(
                "note: the init image of {width}x{height} pixels is resized to {drawn}"
            ));
        }
        let style = image.sampling.preset.start_style();
        let mask = init.mask_at(image.width, image.height, style);
        if mask.as_ref().is_some_and(LatentMask::keeps_all) {
            console.note("note: the mask is white nowhere, so nothing is repainted");
        }
        starts.push(Start { size, mask });
    }
    starts
}
