//! `--preview`: what an image will be, while it is denoised.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, IsTerminal, Write};
use std::path::Path;

use engine::image::RgbImage;

use crate::args::{Environment, GenerateConfig, Verbosity};
use crate::console::{self, Console};
use crate::output::inline_image::Protocol;
use crate::output::preview_file::{self, PreviewFile};
use crate::progress::StepProgress;

/// The previews of a run.
#[derive(Debug)]
pub(super) struct Previews {
    every: usize,
    protocol: Option<Protocol>,
    console: Console,
    /// The files of images that are not written yet, by the images' numbers.
    files: BTreeMap<usize, PreviewFile>,
    /// The images of which a preview is in the terminal.
    shown: BTreeSet<usize>,
}

impl Previews {
    /// Makes those that were asked for, if any.
    pub(super) fn of(config: &GenerateConfig, console: Console) -> Option<Self> {
        let asked = config.preview?;
        Some(Self {
            every: asked.every,
            protocol: asked.inline.then(|| protocol(console)).flatten(),
            console,
            files: BTreeMap::new(),
            shown: BTreeSet::new(),
        })
    }

    /// Begins those of an image.
    pub(super) fn begin(&mut self, number: usize, image: &Path) {
        self.files.insert(number, PreviewFile::of(image));
    }

    /// Removes the preview of an image that is written.
    pub(super) fn end(&mut self, number: usize) {
        self.files.remove(&number);
    }

    /// Tells whether a step of an image, both counted from 0, is shown.
    pub(super) fn is_due(&self, number: usize, step: usize) -> bool {
        (step + 1).is_multiple_of(self.every) && self.files.contains_key(&number)
    }

    /// Shows a preview of an image.
    pub(super) fn show(&mut self, number: usize, image: &RgbImage, progress: &StepProgress) {
        let Ok(png) = preview_file::encode(image) else {
            return;
        };
        self.write(number, &png);
        if let Some(protocol) = self.protocol {
            let width = console::columns();
            let again = !self.shown.insert(number);
            let text = protocol.draw(image, &png, number, again, width);
            progress.aside(|| {
                // Without stderr there is nobody to show it to.
                let _ = io::stderr().lock().write_all(text.as_bytes());
            });
        }
    }

    /// Writes the file. A preview is no reason to lose the image: where the file cannot be
    /// written, there are no more of them.
    fn write(&mut self, number: usize, png: &[u8]) {
        let Some(file) = self.files.get_mut(&number) else {
            return;
        };
        if let Err(error) = file.write(png) {
            let line = format!("warning: no more previews of this image: {error}");
            self.console.note(&line);
            self.files.remove(&number);
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
