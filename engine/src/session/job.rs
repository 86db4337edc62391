//! A job, settled down to the token: all that is left is to compute it. It is data alone.

use std::collections::HashSet;
use std::sync::Arc;

use backends::host_memory;
use model::init_image::LatentMask;
use model::tokenizer::PromptTokens;

use super::Session;
use super::settle::Settled;
use super::texts::Texts;
use crate::error::Error;
use crate::events::Note;
use crate::image::InitImage;
use crate::plan::Work;

/// The most timesteps whose modulations are in memory together, unless a single image has more:
/// those of one take 4.4 MB in bf16.
const TIMESTEPS_TOGETHER: usize = 64;

/// Images that will be computed.
#[derive(Debug)]
pub struct Job {
    /// The texts of all images, each once.
    pub(super) texts: Vec<PromptTokens>,
    /// The images to start from, at each size that is drawn.
    pub(super) starts: Vec<StartImage>,
    /// The images that are to be made, in that order.
    images: Vec<ImageJob>,
    /// Notes on the images to start from.
    notes: Vec<Note>,
}

/// An image of a job.
#[derive(Debug)]
pub struct ImageJob {
    /// How it is made.
    pub settled: Settled,
    /// The prompt's number among the job's texts.
    pub(super) prompt: usize,
    /// The negative prompt's, where there is guidance.
    pub(super) negative: Option<usize>,
    /// The number of its start among the job's, where it starts from an image.
    pub(super) start: Option<usize>,
}

/// An image to start from, at a size that it is encoded at.
#[derive(Debug)]
pub(super) struct StartImage {
    /// The image.
    pub(super) image: Arc<InitImage>,
    /// Pixels across and down.
    pub(super) size: (u32, u32),
    /// The part that is repainted.
    pub(super) mask: Option<LatentMask>,
}

/// Timesteps, each once, in the order in which they were found.
#[derive(Debug, Default)]
struct Timesteps {
    list: Vec<f32>,
    bits: HashSet<u32>,
}

impl Timesteps {
    /// Counts those that are not there yet.
    fn count_new(&self, timesteps: &[f32]) -> usize {
        let known = |timestep: &&f32| self.bits.contains(&timestep.to_bits());
        timesteps.len() - timesteps.iter().filter(known).count()
    }

    fn add(&mut self, timesteps: &[f32]) {
        let new = timesteps.iter().copied();
        self.list
            .extend(new.filter(|timestep| self.bits.insert(timestep.to_bits())));
    }
}

impl Session {
    /// Makes a job of images that are settled.
    ///
    /// # Errors
    /// [`Error::Tokenizer`].
    pub fn job(&self, settled: Vec<Settled>) -> Result<Job, Error> {
        let mut texts = Texts::default();
        let mut job = Job {
            texts: Vec::new(),
            starts: Vec::new(),
            images: Vec::with_capacity(settled.len()),
            notes: Vec::new(),
        };
        for settled in settled {
            let style = settled.sampling.preset.prompt_style();
            let mut number_of = |text: &str| texts.number_of(text, style, &self.models.tokenizer);
            let prompt = number_of(&settled.recipe.prompt)?;
            let negative = settled.recipe.negative_prompt.as_deref();
            let negative = negative.map(&mut number_of).transpose()?;
            let start = job.start_of(&settled);
            job.images.push(ImageJob {
                settled,
                prompt,
                negative,
                start,
            });
        }
        job.texts = texts.into_tokens();
        Ok(job)
    }

    /// Refuses a job with more texts than the host has memory for, and more latents where they
    /// `wait` until all are made.
    ///
    /// # Errors
    /// [`Error::HostMemory`].
    pub fn check_host_memory(&self, job: &Job, wait: bool) -> Result<(), Error> {
        let channels = self.models.text_encoder.config.hidden_size as u64;
        let embeds: u64 = job
            .texts
            .iter()
            .map(|text| 4 * channels * text.kept as u64)
            .sum();
        let features = self.models.transformer.config.in_channels as u64;
        let latents = |image: &ImageJob| 4 * features * image.settled.grid().tokens() as u64;
        let latents: u64 = job.images.iter().map(latents).sum();
        let needed = embeds + if wait { latents } else { 0 };
        match host_memory::available() {
            Some(available) if needed > available => Err(Error::HostMemory { needed, available }),
            _ => Ok(()),
        }
    }
}

impl Job {
    /// The images, in the order in which they are made.
    pub fn images(&self) -> &[ImageJob] {
        &self.images
    }

    /// Tells whether there is nothing to make.
    pub fn is_empty(&self) -> bool {
        self.images.is_empty()
    }

    /// Notes on the images to start from.
    pub fn start_notes(&self) -> &[Note] {
        &self.notes
    }

    /// Notes on the prompts.
    pub fn text_notes(&self) -> Vec<Note> {
        let mut notes = Vec::new();
        if self.texts.iter().any(|text| text.kept == 1) {
            notes.push(Note::LastTokenOnly);
        }
        let cut = self.texts.iter().filter(|text| text.cut > 0);
        notes.extend(cut.map(|text| Note::PromptCut {
            tokens: text.kept + text.cut,
            kept: text.kept,
        }));
        notes
    }

    /// The tokens of an image's prompt that the transformer gets.
    pub fn prompt_tokens(&self, image: &ImageJob) -> usize {
        self.texts[image.prompt].kept
    }

    /// The sizes of the work, for a plan of its memory.
    pub fn work(&self) -> Work {
        let settled = || self.images.iter().map(|image| &image.settled);
        let area = |image: &&Settled| u64::from(image.width) * u64::from(image.height);
        let largest = settled().max_by_key(area);
        let work = Work {
            width: largest.map_or(0, |image| image.width),
            height: largest.map_or(0, |image| image.height),
            encoder_tokens: 0,
            texts: 0,
            text_tokens: 0,
            guided: settled().any(Settled::guided),
            images: self.images.len(),
            timesteps: self.most_timesteps(),
            decoder_tiling: None,
        };
        work.with_texts(&self.texts)
    }

    /// The timesteps of an image counted from 0, and of as many of those after it as may be in
    /// memory together; each once.
    pub(super) fn timesteps_from(&self, first: usize) -> Vec<f32> {
        let mut found = Timesteps::default();
        let images = self.images.iter().skip(first);
        for timesteps in images.map(|image| image.settled.timesteps()) {
            let more = found.count_new(&timesteps);
            if !found.list.is_empty() && found.list.len() + more > TIMESTEPS_TOGETHER {
                break;
            }
            found.add(&timesteps);
        }
        found.list
    }

    /// The most timesteps that are in memory together.
    pub(super) fn most_timesteps(&self) -> usize {
        let mut all = Timesteps::default();
        let mut largest = 0;
        for image in &self.images {
            let timesteps = image.settled.timesteps();
            largest = largest.max(timesteps.len());
            all.add(&timesteps);
        }
        all.list.len().min(largest.max(TIMESTEPS_TOGETHER))
    }

    /// The number of an image's start, which is added if it is new. The pixels are many times as
    /// large as the mask, and are resized when they are encoded.
    fn start_of(&mut self, settled: &Settled) -> Option<usize> {
        let image = settled.image.as_ref()?;
        let size = (settled.width, settled.height);
        let known = self
            .starts
            .iter()
            .position(|start| start.size == size && Arc::ptr_eq(&start.image, image));
        if known.is_some() {
            return known;
        }
        let (width, height) = image.dimensions();
        if let Some(region) = image.region(size.0, size.1) {
            self.notes.push(Note::InitImageCropped {
                region,
                drawn: size,
            });
        } else if size != (width, height) {
            self.notes.push(Note::InitImageResized {
                own: (width, height),
                drawn: size,
            });
        }
        let style = settled.sampling.preset.start_style();
        let mask = image.mask_at(size.0, size.1, style);
        if mask.as_ref().is_some_and(LatentMask::keeps_all) {
            self.notes.push(Note::NothingRepainted);
        }
        self.starts.push(StartImage {
            image: image.clone(),
            size,
            mask,
        });
        Some(self.starts.len() - 1)
    }
}
