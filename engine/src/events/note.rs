//! Notes: the user should know them, and the work goes on.

use std::fmt;
use std::io::ErrorKind;
use std::path::PathBuf;

use crate::image::Region;
use crate::request::LoraTag;

/// Something that the user should know. Its text is a sentence without a flag.
#[derive(Debug, Clone, PartialEq)]
pub enum Note {
    /// Something was found in a file.
    File(String),
    /// A LoRA that another program's prompt names is left out.
    LoraLeftOut {
        /// The image's file.
        image: PathBuf,
        /// The LoRA as the prompt names it.
        tag: LoraTag,
        /// Why it is left out.
        fault: String,
    },
    /// No LoRA's name says that it is the Lightning LoRA; one that is named is taken for it.
    LightningAssumed {
        /// The steps that it should be for.
        steps: usize,
    },
    /// A Lightning LoRA is used without what it was made for.
    LightningMisused {
        /// The LoRA's name.
        name: String,
        /// The steps that it was made for.
        steps: usize,
        /// The steps and guidance that the job has instead.
        instead: String,
    },
    /// A schedule has fewer different noise levels than there are steps.
    FewLevels {
        /// The schedule.
        schedule: String,
        /// The number of its different levels.
        levels: usize,
        /// The steps that were asked for.
        steps: usize,
    },
    /// A prompt has no template, and ComfyUI takes one token of such a prompt.
    LastTokenOnly,
    /// A prompt is longer than what the transformer gets.
    PromptCut {
        /// The number of its tokens.
        tokens: usize,
        /// The tokens that the transformer gets.
        kept: usize,
    },
    /// A part of the init image is drawn.
    InitImageCropped {
        /// The part.
        region: Region,
        /// The width and height at which it is drawn.
        drawn: (u32, u32),
    },
    /// The init image is resized.
    InitImageResized {
        /// The image's own width and height.
        own: (u32, u32),
        /// The width and height at which it is drawn.
        drawn: (u32, u32),
    },
    /// The mask is white nowhere.
    NothingRepainted,
    /// There are no kernels for the device, and Burn's own work.
    NoKernels {
        /// Why.
        reason: String,
    },
    /// Latents cannot be kept for the next run.
    LatentsNotKept {
        /// The folder.
        folder: PathBuf,
        /// Why.
        error: ErrorKind,
    },
    /// FP8 arithmetic is asked for, and the device has none.
    NoFp8Products,
    /// Steps wait for a disk that is slower than the plan thought.
    SlowDisk {
        /// The bytes a second that the plan has counted on.
        planned: f64,
        /// Those that the disk gives.
        found: f64,
    },
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(text) => f.write_str(text),
            Self::LoraLeftOut { image, tag, fault } => write!(
                f,
                "{} names the LoRA {} in its prompt, which is left out: {fault}",
                image.display(),
                tag.name
            ),
            Self::LightningAssumed { steps } => write!(
                f,
                "no LoRA's name says that it is the Lightning LoRA for {steps} steps; one that is \
                 named is taken for it"
            ),
            Self::LightningMisused {
                name,
                steps,
                instead,
            } => write!(
                f,
                "LoRA {name} was made for {steps} steps without guidance, and noise levels with a \
                 shift of 3; this run has {instead}"
            ),
            Self::FewLevels {
                schedule,
                levels,
                steps,
            } => write!(
                f,
                "schedule {schedule} has {levels} different noise levels for {steps} steps"
            ),
            Self::LastTokenOnly => f.write_str(
                "a prompt without the template has no <|im_start|> in it, and ComfyUI gives the \
                 transformer only the last token of such a prompt",
            ),
            Self::PromptCut { tokens, kept } => write!(
                f,
                "a prompt has {tokens} tokens, and the transformer gets the first {kept}: the rest \
                 is left out"
            ),
            Self::InitImageCropped { region, drawn } => {
                let Region {
                    left,
                    top,
                    width,
                    height,
                } = region;
                write!(
                    f,
                    "of the init image the {width}x{height} pixels from {left},{top} on are drawn, \
                     at {}x{}",
                    drawn.0, drawn.1
                )
            }
            Self::InitImageResized { own, drawn } => write!(
                f,
                "the init image of {}x{} pixels is resized to {}x{}",
                own.0, own.1, drawn.0, drawn.1
            ),
            Self::NothingRepainted => {
                f.write_str("the mask is white nowhere, so nothing is repainted")
            }
            Self::NoKernels { reason } => write!(
                f,
                "without kernels of its own for this device, the program is slow: {reason}"
            ),
            Self::LatentsNotKept { folder, error } => write!(
                f,
                "latents cannot be kept in {} ({error}): what is not decoded is lost if the \
                 process is killed",
                folder.display()
            ),
            Self::SlowDisk { planned, found } => write!(
                f,
                "the disk gives {:.2} GB/s where {:.2} were expected, and each step waits for it",
                found / 1e9,
                planned / 1e9
            ),
            Self::NoFp8Products => f.write_str(
                "no FP8 products with this device and number format: FP8 arithmetic rounds as they \
                 would, and gains nothing",
            ),
        }
    }
}
