//! The file that an image goes to.

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use crate::image::Format;

/// The number of digits of a recipe's digest in a name.
const NAME_DIGITS: usize = 12;

/// The placeholder of the recipe's digest in a path, until the recipe is settled. No path holds it.
pub const DIGEST_PLACE: &str = "\0";

/// The fate of a file that is there already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Existing {
    /// The file is replaced, since the user named this one file.
    Replaced,
    /// The file is replaced by the very image that it holds, by another only where the user says so.
    Kept,
    /// The file stays, and the image gets a numbered name beside it.
    Avoided,
}

/// One file to write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The file.
    pub path: PathBuf,
    /// The fate of a file that is there.
    pub existing: Existing,
}

impl Target {
    /// The format of the file; PNG where the name tells none.
    pub fn format(&self) -> Format {
        Format::of(&self.path).unwrap_or(Format::Png)
    }

    /// The files that may hold this image already: its own, and the numbered ones beside it that
    /// [`Existing::Avoided`] gives.
    pub fn existing(&self) -> Vec<PathBuf> {
        let own = std::iter::once(self.path.clone());
        if self.existing != Existing::Avoided {
            return own.filter(|path| path.is_file()).collect();
        }
        let numbered = (2..).map(|number| with_suffix(&self.path, number));
        own.chain(numbered)
            .take_while(|path| path.exists())
            .collect()
    }

    /// The target of one of many images, which replaces no file that holds another image.
    pub fn of_many(self) -> Self {
        let existing = match self.existing {
            Existing::Replaced => Existing::Kept,
            other => other,
        };
        Self { existing, ..self }
    }

    /// Tells whether the name waits for the recipe's digest.
    pub fn waits_for_digest(&self) -> bool {
        self.name().contains(DIGEST_PLACE)
    }

    /// The target with the beginning of the recipe's digest in its place in the name.
    pub fn with_digest(self, digest: &str) -> Self {
        if !self.waits_for_digest() {
            return self;
        }
        let shown = digest.get(..NAME_DIGITS).unwrap_or(digest);
        let name = self.name().replace(DIGEST_PLACE, shown);
        Self {
            path: self.path.with_file_name(name),
            ..self
        }
    }

    fn name(&self) -> Cow<'_, str> {
        self.path.file_name().unwrap_or_default().to_string_lossy()
    }
}

/// Adds a number to a file's name: `a/b.png` with 2 is `a/b-2.png`.
pub fn with_suffix(path: &Path, number: usize) -> PathBuf {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let name = match path.extension() {
        Some(extension) => format!("{stem}-{number}.{}", extension.to_string_lossy()),
        None => format!("{stem}-{number}"),
    };
    path.with_file_name(name)
}
