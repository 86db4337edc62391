//! `--preview`: what an image will be, while it is denoised.

use std::collections::BTreeMap;
use std::io::{self, IsTerminal, Write};
use std::path::Path;

use engine::image::{RgbImage, Rounding};
use model::latents::{PATCH, TokenGrid};
use model::preview::LatentRgb;

use super::job::Job;
use crate::args::{Environment, Verbosity};
use crate::console::{self, Console};
use crate::error::CliError;
use crate::output::inline_image::Protocol;
use crate::output::preview_file::{self, PreviewFile};
use crate::progress::StepProgress;

/// The previews of a run.
#[derive(Debug)]
pub(super) struct Previews {
    colours: LatentRgb,
    every: usize,
    protocol: Option<Protocol>,
    console: Console,
    /// Of images that are not written yet, by their numbers.
    files: BTreeMap<usize, PreviewFile>,
}

/// The previews of an image that is being denoised.
#[derive(Debug)]
pub(super) struct ImagePreviews<'a> {
    run: &'a mut Previews,
    number: usize,
    grid: TokenGrid,
    /// Whether one is in the terminal.
    shown: bool,
}

impl Previews {
    /// Those that were asked for, if any.
    ///
    /// # Errors
    /// [`CliError::Config`] for a VAE whose latents have no known colours.
    pub(super) fn of(job: &Job<'_>) -> Result<Option<Self>, CliError> {
        let Some(config) = job.config.preview else {
            return Ok(None);
        };
        let vae = &job.models.vae;
        let colours = LatentRgb::resolve(vae.weights.config(), vae.config.z_dim)
            .map_err(CliError::config(vae.weights.source()))?;
        Ok(Some(Self {
            colours,
            every: config.every,
            protocol: config.inline.then(|| protocol(job.console)).flatten(),
            console: job.console,
            files: BTreeMap::new(),
        }))
    }

    /// Begins those of an image.
    pub(super) fn begin(
        &mut self,
        number: usize,
        image: &Path,
        grid: TokenGrid,
    ) -> ImagePreviews<'_> {
        self.files.insert(number, PreviewFile::of(image));
        ImagePreviews {
            run: self,
            number,
            grid,
            shown: false,
        }
    }

    /// Removes the preview of an image that is written.
    pub(super) fn end(&mut self, number: usize) {
        self.files.remove(&number);
    }
}

impl ImagePreviews<'_> {
    /// Whether a step counted from 0 is shown.
    pub(super) fn is_due(&self, step: usize) -> bool {
        (step + 1).is_multiple_of(self.run.every) && self.run.files.contains_key(&self.number)
    }

    /// Shows latents, `[image tokens, features]`.
    pub(super) fn show(&mut self, latents: &[f32], progress: &StepProgress) {
        let width = self.grid.width * PATCH;
        let height = self.grid.height * PATCH;
        let planes = self.run.colours.planes(latents, self.grid);
        // What is not finite is told by the pipeline itself.
        let image = planes.and_then(|planes| {
            let (width, height) = (width as u32, height as u32);
            RgbImage::from_planes(&planes, width, height, Rounding::HalfToEven).ok()
        });
        let Some(image) = image else { return };
        let Ok(png) = preview_file::encode(&image) else {
            return;
        };
        self.write(&png);
        if let Some(protocol) = self.run.protocol {
            let width = console::columns();
            let text = protocol.draw(&image, &png, self.number, self.shown, width);
            progress.aside(|| {
                // Without stderr there is nobody to show it to.
                let _ = io::stderr().lock().write_all(text.as_bytes());
            });
            self.shown = true;
        }
    }

    /// Writes the file. A preview is no reason to lose the image: where the file cannot be
    /// written, there are no more of them.
    fn write(&mut self, png: &[u8]) {
        let Some(file) = self.run.files.get_mut(&self.number) else {
            return;
        };
        if let Err(error) = file.write(png) {
            let line = format!("warning: no more previews of this image: {error}");
            self.run.console.note(&line);
            self.run.files.remove(&self.number);
        }
    }
}

/// How the terminal shows images; tells where it does not.
fn protocol(console: Console) -> Option<Protocol> {
    if console.verbosity() == Verbosity::Quiet {
        return None;
    }
    if !io::stderr().is_terminal() {
        console.note("note: --preview-inline has no effect: stderr is not a terminal");
        return None;
    }
    let environment = Environment::of_process();
    let protocol = Protocol::of(environment);
    if protocol.is_none() {
        let why = Protocol::why_not(environment);
        console.note(&format!("note: --preview-inline has no effect: {why}"));
    }
    protocol
}
