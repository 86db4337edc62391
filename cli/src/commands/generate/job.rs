//! One run of `generate`, settled down to the token: all that is left is to compute.

use backends::{BackendKind, DeviceChoice, ModelBackend, OnBackend};
use burn::tensor::FloatDType;
use model::tokenizer::PromptTokens;

use super::draw::Draw;
use super::encode::Encode;
use super::picture::Picture;
use super::request::Request;
use super::run::Run;
use super::texts::Texts;
use crate::args::GenerateConfig;
use crate::console::Console;
use crate::error::CliError;
use crate::models::Models;
use crate::output::report::Report;
use crate::plan::{Setting, Work};

/// Makes a device ready.
struct Prepare(Console);

impl OnBackend for Prepare {
    type Output = ();

    fn run<B: ModelBackend>(self, device: B::Device) {
        if let Err(reason) = B::prepare(&device) {
            self.0.note(&format!(
                "note: without kernels of its own for this device, the program is slow: {reason}"
            ));
        }
    }
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
    /// The texts of all pictures, each once.
    pub(super) texts: Vec<PromptTokens>,
    /// The pictures, at least one, in the order in which they are made.
    pub(super) pictures: Vec<Picture>,
}

impl<'a> Job<'a> {
    /// Opens the models' files and checks them, and reads the texts and the noise.
    ///
    /// # Errors
    /// Whatever is wrong with a file.
    pub(super) fn prepare(
        config: &'a GenerateConfig,
        requests: Vec<Request>,
        console: Console,
    ) -> Result<Self, CliError> {
        let models = Models::open(&config.sources)?;
        let mut texts = Texts::default();
        let prepare = |request| Picture::prepare(request, config, &models, &mut texts);
        let pictures = requests.into_iter().map(prepare);
        let job = Self {
            pictures: pictures.collect::<Result<_, _>>()?,
            config,
            console,
            models,
            texts: texts.into_tokens(),
        };
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
        for picture in &self.pictures {
            let prompt = &self.texts[picture.prompt];
            self.console.detail(&format!(
                "{}: {}x{}, {} steps, {} prompt tokens",
                picture.target.path.display(),
                picture.width,
                picture.height,
                picture.schedule.steps(),
                prompt.ids.len() - prompt.prefix
            ));
        }
    }

    /// Its sizes, for a plan of its memory.
    pub(super) fn work(&self) -> Work {
        let area = |picture: &&Picture| u64::from(picture.width) * u64::from(picture.height);
        let largest = self.pictures.iter().max_by_key(area);
        let work = Work {
            width: largest.map_or(0, |picture| picture.width),
            height: largest.map_or(0, |picture| picture.height),
            encoder_tokens: 0,
            text_tokens: 0,
            guided: self
                .pictures
                .iter()
                .any(|picture| picture.negative.is_some()),
            images: self.pictures.len(),
        };
        work.with_texts(&self.texts)
    }

    /// Computes and writes everything.
    ///
    /// # Errors
    /// What goes wrong on the way; Ctrl-C.
    pub(super) fn run(self, device: &DeviceChoice, setting: Setting) -> Result<(), CliError> {
        let mut run = Run::new(&self, setting)?;
        let encoder_device = if self.config.compute.splits_encoder(device.kind) {
            DeviceChoice {
                kind: BackendKind::Flex,
                index: 0,
            }
        } else {
            *device
        };
        backends::dispatch(device, Prepare(self.console))?;
        let embeds = backends::dispatch(&encoder_device, Encode(&mut run))??;
        let draw = Draw {
            run: &mut run,
            embeds,
        };
        backends::dispatch(device, draw)??;
        if let (Some(trace), Some(path)) = (&run.trace, &self.config.trace) {
            trace.write(path)?;
        }
        if let (Some(path), Some(first)) = (&self.config.report, self.pictures.first()) {
            let report = Report {
                version: env!("CARGO_PKG_VERSION"),
                backend: device.kind.name(),
                device: device.index,
                dtype: match setting.dtype {
                    FloatDType::BF16 => "bf16",
                    _ => "f32",
                },
                width: first.width,
                height: first.height,
                steps: first.schedule.steps(),
                cfg_scale: first.cfg_scale,
                guided: first.negative.is_some(),
                images: run.images,
                phases: run.phases,
            };
            report.write(path)?;
        }
        Ok(())
    }
}
