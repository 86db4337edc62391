//! Which files the images go to.

use std::fs;
use std::path::{Path, PathBuf};

use engine::files::{Existing, Target};
use engine::image::Format;

use super::pattern::Pattern;
use crate::error::CliError;

/// The names that `--output` asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum OutputNames {
    /// A name of the user's.
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

impl OutputNames {
    /// Reads `--output`: nothing, a folder, or a file name.
    ///
    /// # Errors
    /// [`CliError::Usage`] for another format's extension, an empty name, a second `%d` or `%h`,
    /// or something that is there and is neither a file nor a folder.
    pub(crate) fn parse(output: Option<&Path>) -> Result<Self, CliError> {
        match output {
            Some(output) => Self::parse_as("--output", output),
            None => Ok(Self::Default {
                folder: PathBuf::new(),
            }),
        }
    }

    /// Reads a folder that is there or ends with a slash, or a file name; `what` names the flag or
    /// field in errors.
    ///
    /// # Errors
    /// The same as [`Self::parse`].
    pub(crate) fn parse_as(what: &str, output: &Path) -> Result<Self, CliError> {
        if output.is_dir() {
            return Ok(Self::Default {
                folder: output.to_owned(),
            });
        }
        let text = output.as_os_str().to_string_lossy();
        let usage = |reason: &str| Err(CliError::Usage(format!("{what} {text}: {reason}")));
        let found = fs::metadata(output);
        if found.is_ok_and(|found| !found.is_file()) {
            return usage(
                "is a device or a pipe; an image is written beside its place and renamed, which \
                 would replace it: name a file or a folder",
            );
        }
        let Some(name) = output.file_name() else {
            return usage("no such folder, and no file name to write");
        };
        if text.ends_with(std::path::is_separator) {
            // Without the slash, which no file has.
            let folder = output.with_file_name(name);
            return if folder.is_file() {
                usage("is a file: name a folder, or leave out what follows the name")
            } else {
                Ok(Self::Default { folder })
            };
        }
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
                    "{what} {text}: images are PNG, WebP or JPEG files; give a name that ends \
                     in .png, .webp or .jpg"
                )));
            }
        };
        Ok(Self::Explicit {
            folder: output.parent().unwrap_or(Path::new("")).to_owned(),
            name: Pattern::parse(what, &name)?,
        })
    }

    /// The file of each image: `%d` counts from 1; without it and `%h`, several images get `-1`,
    /// `-2`, … at the end of the name; default names carry the image's seed.
    pub(crate) fn targets(&self, seed: u64, count: usize) -> Vec<Target> {
        (0..count)
            .map(|image| {
                let seed = seed.wrapping_add(image as u64);
                self.target(image + 1, count > 1, &format!("qwen-image-{seed}"))
            })
            .collect()
    }

    /// The file of the image of this number: in the place of `%d`, or at the end of the name
    /// where it is one of `several` and nothing else tells them apart. `stem` is the default name.
    pub(crate) fn target(&self, number: usize, several: bool, stem: &str) -> Target {
        match self {
            Self::Explicit { folder, name } => Target {
                path: folder.join(name.numbered(several.then_some(number), number)),
                existing: if several || name.is_for_many() {
                    Existing::Kept
                } else {
                    Existing::Replaced
                },
            },
            Self::Default { folder } => Target {
                path: folder.join(format!("{stem}.png")),
                existing: Existing::Avoided,
            },
        }
    }

    /// Tells whether names follow the images' recipes, so that an image's place among others makes
    /// no difference.
    pub(crate) fn follows_recipes(&self) -> bool {
        match self {
            Self::Explicit { name, .. } => name.has_digest(),
            Self::Default { .. } => false,
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::path::Path;

    use super::{Existing, OutputNames};
    use engine::files::with_suffix;

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
        assert_eq!(target.existing, Existing::Avoided);
    }

    #[test]
    fn names_that_cannot_be_written_are_refused() {
        for name in [
            "out.gif",
            "a.b.tiff",
            "",
            "no-such-folder/..",
            "%d-%d.png",
            "%h-%h.png",
            "%099d.png",
            "%099999999999999999999999d.png",
        ] {
            assert!(OutputNames::parse(Some(Path::new(name))).is_err(), "{name}");
        }
    }

    #[test]
    fn digests_take_their_place_once_they_are_known() {
        let name = |output: &str, count| {
            let names = OutputNames::parse(Some(Path::new(output))).unwrap();
            let target = names.targets(7, count).remove(0);
            assert_eq!(names.follows_recipes(), target.waits_for_digest());
            target.with_digest("ab12").path
        };
        assert_eq!(name("a/fox-%h.png", 1), Path::new("a/fox-ab12.png"));
        // Each has its own: there is nothing to number.
        assert_eq!(name("%h", 2), Path::new("ab12.png"));
        assert_eq!(name("%03d-%h.webp", 2), Path::new("001-ab12.webp"));
        assert_eq!(name("x%%h.png", 1), Path::new("x%h.png"));
    }

    #[test]
    fn only_a_single_name_is_replaced_by_another_image() {
        let existing = |output: Option<&str>, count| {
            let names = OutputNames::parse(output.map(Path::new)).unwrap();
            names.targets(7, count)[0].existing
        };
        assert_eq!(existing(Some("x.png"), 1), Existing::Replaced);
        for (output, count) in [("x.png", 2), ("x%d.png", 1), ("x%h.png", 1)] {
            assert_eq!(existing(Some(output), count), Existing::Kept);
        }
        assert_eq!(existing(None, 2), Existing::Avoided);
        let single = OutputNames::parse(Some(Path::new("x.png"))).unwrap();
        let target = single.targets(7, 1).remove(0).of_many();
        assert_eq!(target.existing, Existing::Kept);
    }

    #[test]
    fn a_slash_names_a_folder_that_need_not_be_there() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let parsed = OutputNames::parse(Some(&path("new/"))).unwrap();
        assert_eq!(
            parsed.targets(7, 1)[0].path,
            path("new").join("qwen-image-7.png")
        );
        std::fs::write(path("file"), "").unwrap();
        assert!(OutputNames::parse(Some(&path("file/"))).is_err());
        #[cfg(unix)]
        assert!(OutputNames::parse(Some(Path::new("/dev/null"))).is_err());
    }

    #[test]
    fn suffixes_go_before_the_extension() {
        assert_eq!(
            with_suffix(Path::new("a/b.c.png"), 3),
            Path::new("a/b.c-3.png")
        );
    }
}
