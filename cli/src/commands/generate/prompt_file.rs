//! `--prompt-file`: an image for each line.

mod encoding;
mod form;
mod json;
mod object;

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use engine::request::{ImageSize, Sampling};

use crate::bad_lines::BadLines;
use crate::error::CliError;
use form::{FORMS, Form};
use json::Entry;

/// The largest file that is read.
const MAX_BYTES: u64 = 64 << 20;

/// One line.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Line {
    /// The line's number.
    pub(super) number: usize,
    /// The file's name and the line's number, for messages.
    pub(super) origin: String,
    /// The prompt.
    pub(super) prompt: String,
    /// The settings that override the flags.
    pub(super) own: Own,
}

/// The fields of a line beside the prompt, each where it is there.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Own {
    /// The negative prompt.
    pub(super) negative_prompt: Option<String>,
    /// Pixels across, a multiple of 16.
    pub(super) width: Option<u32>,
    /// Pixels down, a multiple of 16.
    pub(super) height: Option<u32>,
    /// Seed of the first of its images.
    pub(super) seed: Option<u64>,
    /// Denoising steps.
    pub(super) steps: Option<usize>,
    /// Guidance scale.
    pub(super) cfg_scale: Option<f64>,
    /// The name of the image's file.
    pub(super) output: Option<PathBuf>,
}

impl Own {
    /// The sides, where `all` has those of images without their own.
    pub(super) fn size(&self, all: ImageSize) -> ImageSize {
        ImageSize {
            width: self.width.or(all.width),
            height: self.height.or(all.height),
        }
    }
}

/// The prompts of a file, or of standard input for `-`; adds a notice for each side that is
/// rounded, and to `bad` what is wrong with a line.
///
/// # Errors
/// [`engine::Error::Input`] for a file that cannot be read, and [`CliError::Usage`] for one of
/// another form or without a prompt.
pub(super) fn read(
    path: &Path,
    sampling: &Sampling,
    notices: &mut Vec<String>,
    bad: &mut BadLines,
) -> Result<Vec<Line>, CliError> {
    let stdin = path.as_os_str() == "-";
    let name = if stdin {
        "standard input".to_owned()
    } else {
        path.display().to_string()
    };
    let input = |reason: String| CliError::input(format!("{name}: {reason}"));
    let form = Form::of_name(path)
        .map_err(|kind| CliError::Usage(format!("{name}: is {kind}, which is not read; {FORMS}")));
    // What is not there has no form.
    let bytes = bytes(path, stdin).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => input("no such file".to_owned()),
        _ => input(error.to_string()),
    })?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(input(format!(
            "has more than {} MiB: split it",
            MAX_BYTES >> 20
        )));
    }
    let mut known = 0;
    let mut reading = Reading {
        name: &name,
        sampling,
        notices,
        bad,
        faults: &mut known,
    };
    let lines = reading.lines(&bytes, form?)?;
    if lines.is_empty() && known == 0 {
        return Err(CliError::Usage(format!("{name}: holds no prompt")));
    }
    Ok(lines)
}

fn bytes(path: &Path, stdin: bool) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let limit = MAX_BYTES + 1;
    if stdin {
        std::io::stdin()
            .lock()
            .take(limit)
            .read_to_end(&mut bytes)?;
    } else {
        File::open(path)?.take(limit).read_to_end(&mut bytes)?;
    }
    Ok(bytes)
}

/// A file that is being taken apart.
struct Reading<'a> {
    name: &'a str,
    sampling: &'a Sampling,
    notices: &'a mut Vec<String>,
    bad: &'a mut BadLines,
    /// How many lines are bad.
    faults: &'a mut usize,
}

impl Reading<'_> {
    fn lines(&mut self, bytes: &[u8], form: Form) -> Result<Vec<Line>, CliError> {
        let other = |what: &str| CliError::Usage(format!("{}: {what}; {FORMS}", self.name));
        let decoded = encoding::decode(bytes).map_err(|what| other(&what))?;
        for number in &decoded.bad_lines {
            self.fault(*number, "is not UTF-8");
        }
        let text = decoded.text;
        let form = form.of_text(&text);
        if form == Form::Text
            && let Some((number, what)) = form::other_form(&text)
        {
            let place = format!("{}:{number}", self.name);
            return Err(CliError::Usage(format!("{place}: {what}; {FORMS}")));
        }
        let found = match form {
            Form::Json => json::entries(&text, is_of_lines(self.name)),
            Form::Text | Form::Either => prompts(&text),
        };
        let mut lines = Vec::new();
        for (number, entry) in found {
            if decoded.bad_lines.binary_search(&number).is_ok() {
                continue;
            }
            match self.line(number, entry) {
                Ok(line) => lines.push(line),
                Err(fault) => self.fault(number, &fault),
            }
        }
        Ok(lines)
    }

    fn line(&mut self, number: usize, entry: Result<Entry, String>) -> Result<Line, String> {
        let origin = format!("{}:{number}", self.name);
        let mut rounded = Vec::new();
        let (prompt, own) = match entry? {
            Entry::Text(prompt) => (prompt, Own::default()),
            Entry::Object(fields) => object::read(&fields, self.sampling, &mut rounded)?,
            Entry::Other(kind) => return Err(format!("is no JSON object but {kind}")),
        };
        let negative = own.negative_prompt.as_deref().unwrap_or_default();
        if prompt.contains('\0') || negative.contains('\0') {
            return Err("holds a NUL character".to_owned());
        }
        let notices = rounded.iter().map(|notice| format!("{origin}: {notice}"));
        self.notices.extend(notices);
        Ok(Line {
            number,
            origin,
            prompt,
            own,
        })
    }

    fn fault(&mut self, number: usize, reason: &str) {
        *self.faults += 1;
        let origin = format!("{}:{number}", self.name);
        self.bad.push(number, &origin, reason);
    }
}

/// Tells whether a file of this name has a JSON value on each line; `.json` is one document.
fn is_of_lines(name: &str) -> bool {
    !name.to_lowercase().ends_with(".json")
}

/// A prompt from each line that is neither blank nor a remark.
fn prompts(text: &str) -> Vec<json::Found> {
    // Some editors end lines by Unicode's own signs, which no text of one line has.
    let numbered = text.split('\n').enumerate();
    let parts = numbered.flat_map(|(index, line)| {
        let parts = line.split(['\u{2028}', '\u{2029}', '\u{85}']);
        parts.map(move |part| (index + 1, part.trim_start_matches('\u{feff}').trim()))
    });
    parts
        .filter(|(_, text)| !text.is_empty() && !text.starts_with('#'))
        .map(|(number, text)| (number, Ok(Entry::Text(text.to_owned()))))
        .collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
