//! An observer of the steps of one image.

use std::time::Instant;

use backends::ModelBackend;
use burn::tensor::Tensor;
use model::latents::{PATCH, TokenGrid};
use model::pipeline::{self, Branch};
use model::preview::LatentRgb;

use super::Session;
use super::blocks::Pace;
use super::to_host::{read, wait};
use crate::error::Error;
use crate::events::{CancelToken, Event, Note, Observer, Values};
use crate::image::{RgbImage, Rounding};

/// Watches the steps of one image.
pub(super) struct StepObserver<'a> {
    /// The image, counted from 0 within the job.
    pub(super) index: usize,
    /// The image's size in tokens.
    pub(super) grid: TokenGrid,
    /// Who is told.
    pub(super) observer: &'a mut dyn Observer,
    /// How the caller ends it.
    pub(super) cancel: &'a CancelToken,
    /// The session, which knows of faults of the device since this mark.
    pub(super) session: &'a Session,
    /// The faults before it are not this job's.
    pub(super) mark: u64,
    /// The colours of latents, if previews are wanted.
    pub(super) colours: Option<&'a LatentRgb>,
    /// The first tensor that could not be read back.
    pub(super) failed: Option<Error>,
    /// When each step ended.
    pub(super) ends: Vec<Instant>,
    /// Watches whether the disk keeps up, where blocks are streamed.
    pub(super) pace: Option<&'a Pace>,
}

impl StepObserver<'_> {
    fn values<B: ModelBackend>(&mut self, tensor: Tensor<B, 3>) -> Option<Vec<f32>> {
        match read(|| self.session.check_device(self.mark), tensor) {
            Ok(values) => Some(values),
            Err(error) => {
                self.failed.get_or_insert(error);
                None
            }
        }
    }

    fn trace<B: ModelBackend>(&mut self, name: &str, tensor: &Tensor<B, 3>) {
        if self.observer.wants_tensors()
            && let Some(values) = self.values(tensor.clone())
        {
            self.observer.event(Event::Tensor {
                name,
                shape: &tensor.dims(),
                values: Values::F32(&values),
            });
        }
    }

    /// The preview of latents, `[image tokens, features]`. What is not finite is told by the
    /// pipeline itself.
    fn preview(&self, latents: &[f32]) -> Option<RgbImage> {
        let planes = self.colours?.planes(latents, self.grid)?;
        let (width, height) = (self.grid.width * PATCH, self.grid.height * PATCH);
        let (width, height) = (width as u32, height as u32);
        RgbImage::from_planes(&planes, width, height, Rounding::HalfToEven).ok()
    }
}

impl<B: ModelBackend> pipeline::Observer<B> for StepObserver<'_> {
    fn prediction(&mut self, step: usize, branch: Branch, prediction: &Tensor<B, 3>) {
        if step == 0 {
            let name = match branch {
                Branch::Conditional => "step0.cond",
                Branch::Unconditional => "step0.uncond",
            };
            self.trace(name, prediction);
        }
    }

    fn latents(&mut self, step: usize, latents: &Tensor<B, 3>) {
        // A device computes behind our back: without waiting, all steps would be queued at once,
        // the progress would lie, and a cancellation come too late.
        let check = || self.session.check_device(self.mark);
        if let Err(error) = wait::<B>(check, &latents.device()) {
            self.failed.get_or_insert(error);
        }
        self.ends.push(Instant::now());
        if let Some((planned, found)) = self.pace.and_then(Pace::news) {
            let note = Note::SlowDisk { planned, found };
            self.observer.event(Event::Note(note));
        }
        self.trace(&format!("latents.step{step}"), latents);
        let (index, done) = (self.index, step + 1);
        self.observer.event(Event::Step { index, done });
    }

    fn estimates(&self, step: usize) -> bool {
        self.colours.is_some() && self.observer.wants_preview(self.index, step)
    }

    fn estimate(&mut self, _: usize, latents: &Tensor<B, 3>) {
        let values = self.values(latents.clone());
        if let Some(image) = values.and_then(|values| self.preview(&values)) {
            let index = self.index;
            self.observer.event(Event::Preview { index, image });
        }
    }

    fn cancelled(&self) -> bool {
        self.cancel.is_cancelled() || self.failed.is_some()
    }
}
