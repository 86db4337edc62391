//! Which files the images go to.

use std::path::{Path, PathBuf};

use super::format::Format;
use crate::error::CliError;

/// The most digits a `%0Nd` may ask for.
const MAX_DIGITS: usize = 20;

/// What `--output` asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum OutputNames {
    /// A name of the user's: written over if it is there.
    Explicit {
        /// The folder, empty for the current one.
        folder: PathBuf,
        /// The file name.
        name: Pattern,
    },
    /// `qwen-image-SEED.png` in this folder: gets a number rather than overwrite.
    Default {
        /// The folder, empty for the current one.
        folder: PathBuf,
    },
}

/// A file name, with or without a place for the image's number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pattern {
    before: String,
    /// Digits to pad to; `None` when the name has no `%d`.
    digits: Option<usize>,
    after: String,
}

/// One file to write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    /// The file.
    pub(crate) path: PathBuf,
    /// Whether a file already there is replaced.
    pub(crate) overwrite: bool,
}

impl Target {
    /// The format of the file; PNG where the name tells none.
    pub(crate) fn format(&self) -> Format {
        Format::of(&self.path).unwrap_or(Format::Png)
    }

    /// The files that may hold this picture already: its own, and those with a number that a name
    /// gets that must not overwrite.
    pub(crate) fn existing(&self) -> Vec<PathBuf> {
        let own = std::iter::once(self.path.clone());
        if self.overwrite {
            return own.filter(|path| path.is_file()).collect();
        }
        let numbered = (2..).map(|number| with_suffix(&self.path, number));
        own.chain(numbered)
            .take_while(|path| path.exists())
            .collect()
    }
}

impl OutputNames {
    /// Reads `--output`: nothing, a folder that is there, or a file name.
    ///
    /// # Errors
    /// [`CliError::Usage`] for another format's extension, an empty name, or a second `%d`.
    pub(crate) fn parse(output: Option<&Path>) -> Result<Self, CliError> {
        match output {
            Some(output) => Self::parse_as("--output", output),
            None => Ok(Self::Default {
                folder: PathBuf::new(),
            }),
        }
    }

    /// Reads a folder that is there, or a file name; `what` names the flag or field in errors.
    ///
    /// # Errors
    /// As of [`Self::parse`].
    pub(crate) fn parse_as(what: &str, output: &Path) -> Result<Self, CliError> {
        if output.is_dir() {
            return Ok(Self::Default {
                folder: output.to_owned(),
            });
        }
        let text = output.as_os_str().to_string_lossy();
        let name = match output.file_name() {
            Some(name) if !text.ends_with(std::path::is_separator) => name,
            _ => {
                return Err(CliError::Usage(format!(
                    "{what} {text}: no such folder, and no file name to write",
                )));
            }
        };
        let Some(name) = name.to_str() else {
            return Err(CliError::Usage(format!(
                "{what} {text}: the file name is not UTF-8"
            )));
        };
        let path = Path::new(name);
        let name = match (path.extension(), Format::of(path)) {
            (None, _) => format!("{name}.png"),
            (Some(_), Some(_)) => name.to_owned(),
            (Some(_), None) => {
                return Err(CliError::Usage(format!(
                    "{what} {text}: pictures are PNG, WebP or JPEG files; give a name that ends \
                     in .png, .webp or .jpg"
                )));
            }
        };
        Ok(Self::Explicit {
            folder: output.parent().unwrap_or(Path::new("")).to_owned(),
            name: Pattern::parse(what, &name)?,
        })
    }

    /// The file of each image: `%d` counts from 1; without it, several images get `-1`, `-2`, … at
    /// the end of the name; default names carry the image's seed.
    pub(crate) fn targets(&self, seed: u64, count: usize) -> Vec<Target> {
        (0..count)
            .map(|image| {
                let seed = seed.wrapping_add(image as u64);
                self.target(image + 1, count > 1, &format!("qwen-image-{seed}"))
            })
            .collect()
    }

    /// The file of the image of this number: in the place of `%d`, or at the end of the name
    /// where it is one of `several`. `stem` is the default name.
    pub(crate) fn target(&self, number: usize, several: bool, stem: &str) -> Target {
        match self {
            Self::Explicit { folder, name } => Target {
                path: folder.join(name.numbered(several.then_some(number), number)),
                overwrite: true,
            },
            Self::Default { folder } => Target {
                path: folder.join(format!("{stem}.png")),
                overwrite: false,
            },
        }
    }
}

impl Pattern {
    fn parse(what: &str, name: &str) -> Result<Self, CliError> {
        let mut pattern = Self {
            before: String::new(),
            digits: None,
            after: String::new(),
        };
        let mut rest = name;
        while let Some(at) = rest.find('%') {
            pattern.tail().push_str(&rest[..at]);
            let directive = &rest[at + 1..];
            let digits = directive.bytes().take_while(u8::is_ascii_digit).count();
            if directive[digits..].starts_with('d') {
                let width = match &directive[..digits] {
                    "" => 0,
                    width => width.parse().unwrap_or(usize::MAX),
                };
                if pattern.digits.is_some() || width > MAX_DIGITS {
                    return Err(CliError::Usage(format!(
                        "{what} {name}: one `%d` or `%04d` at most, of up to {MAX_DIGITS} digits"
                    )));
                }
                pattern.digits = Some(width);
                rest = &directive[digits + 1..];
            } else {
                // `%%` is a percent sign, and so is one that starts nothing.
                pattern.tail().push('%');
                rest = directive.strip_prefix('%').unwrap_or(directive);
            }
        }
        pattern.tail().push_str(rest);
        Ok(pattern)
    }

    fn tail(&mut self) -> &mut String {
        if self.digits.is_some() {
            &mut self.after
        } else {
            &mut self.before
        }
    }

    /// The name with `number` in its place, or with `suffix` before the extension.
    fn numbered(&self, suffix: Option<usize>, number: usize) -> String {
        let Self { before, after, .. } = self;
        match (self.digits, suffix) {
            (Some(digits), _) => format!("{before}{number:0digits$}{after}"),
            (None, None) => before.clone(),
            (None, Some(suffix)) => with_suffix(Path::new(before), suffix)
                .to_string_lossy()
                .into_owned(),
        }
    }
}

/// `a/b.png` with 2 is `a/b-2.png`.
pub(crate) fn with_suffix(path: &Path, number: usize) -> PathBuf {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let name = match path.extension() {
        Some(extension) => format!("{stem}-{number}.{}", extension.to_string_lossy()),
        None => format!("{stem}-{number}"),
    };
    path.with_file_name(name)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::path::Path;

    use super::{OutputNames, with_suffix};

    fn names(output: Option<&str>, count: usize) -> Vec<String> {
        OutputNames::parse(output.map(Path::new))
            .unwrap()
            .targets(7, count)
            .into_iter()
            .map(|target| target.path.to_string_lossy().into_owned())
            .collect()
    }

    #[test]
    fn one_image_keeps_the_name_given() {
        assert_eq!(names(Some("out.png"), 1), ["out.png"]);
        assert_eq!(names(Some("a/out.PNG"), 1), ["a/out.PNG"]);
        assert_eq!(names(Some("out"), 1), ["out.png"]);
        for name in ["out.jpg", "out.JPEG", "a.b.webp"] {
            assert_eq!(names(Some(name), 1), [name]);
        }
    }

    #[test]
    fn several_images_are_numbered() {
        assert_eq!(names(Some("a/out.png"), 2), ["a/out-1.png", "a/out-2.png"]);
        assert_eq!(names(Some("x%d.png"), 2), ["x1.png", "x2.png"]);
        assert_eq!(names(Some("%04d-x.png"), 2), ["0001-x.png", "0002-x.png"]);
        assert_eq!(names(Some("%3d.png"), 1), ["001.png"]);
    }

    #[test]
    fn other_percent_signs_are_letters() {
        assert_eq!(names(Some("100%.png"), 1), ["100%.png"]);
        assert_eq!(names(Some("100%%d.png"), 1), ["100%d.png"]);
        assert_eq!(names(Some("%%%d.png"), 1), ["%1.png"]);
        assert_eq!(names(Some("%4x.png"), 1), ["%4x.png"]);
    }

    #[test]
    fn default_names_carry_the_seed_and_do_not_overwrite() {
        assert_eq!(names(None, 2), ["qwen-image-7.png", "qwen-image-8.png"]);
        let folder = tempfile::tempdir().unwrap();
        let parsed = OutputNames::parse(Some(folder.path())).unwrap();
        let target = &parsed.targets(7, 1)[0];
        assert_eq!(target.path, folder.path().join("qwen-image-7.png"));
        assert!(!target.overwrite);
    }

    #[test]
    fn names_that_cannot_be_written_are_refused() {
        for name in [
            "out.gif",
            "a.b.tiff",
            "",
            "no-such-folder/",
            "%d-%d.png",
            "%099d.png",
            "%099999999999999999999999d.png",
        ] {
            assert!(OutputNames::parse(Some(Path::new(name))).is_err(), "{name}");
        }
    }

    #[test]
    fn suffixes_go_before_the_extension() {
        assert_eq!(
            with_suffix(Path::new("a/b.c.png"), 3),
            Path::new("a/b.c-3.png")
        );
    }
}
