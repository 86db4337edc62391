//! `generate`'s flags, checked: after this no later code meets a value out of range.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::Verbosity;
use super::raw::{BackendName, DtypeChoice, GenerateArgs};
use crate::error::CliError;
use crate::output::names::OutputNames;

/// Image sides are multiples of this: the VAE's factor 8 times the transformer's 2x2 patches.
pub(crate) const SIDE_MULTIPLE: u32 = 16;
/// The longest side taken; beyond it lies a mistyped number.
pub(crate) const MAX_SIDE: u32 = 8192;
/// Denoising steps that can be asked for: with one, the schedule, which ends above zero noise, has
/// no slope to follow.
pub(crate) const STEPS: std::ops::RangeInclusive<usize> = 2..=1000;
const MAX_BATCH: i64 = 1000;
const MAX_CFG_SCALE: f64 = 100.0;

/// What `generate` was asked to do.
#[derive(Debug)]
pub(crate) struct GenerateConfig {
    /// The prompt; may be empty.
    pub(crate) prompt: String,
    /// The negative prompt; `None` makes one pass a step.
    pub(crate) negative_prompt: Option<String>,
    /// Sides asked for, not yet rounded; `None` leaves them to the model.
    pub(crate) size: ImageSize,
    /// Denoising steps, at least 2; `None` leaves them to the model.
    pub(crate) steps: Option<usize>,
    /// Guidance scale, at least 1.
    pub(crate) cfg_scale: f64,
    /// Seed of the first image; `None` draws one.
    pub(crate) seed: Option<u64>,
    /// Images to make, at least 1.
    pub(crate) count: usize,
    /// Where they go.
    pub(crate) output: OutputNames,
    /// Where the model files are.
    pub(crate) sources: ModelSources,
    /// Backend by name, or auto.
    pub(crate) backend: BackendName,
    /// Device number.
    pub(crate) device: Option<usize>,
    /// Compute format.
    pub(crate) dtype: DtypeChoice,
    /// Bytes of device memory that may be used.
    pub(crate) vram_limit: Option<u64>,
    /// A file with the noise to start from.
    pub(crate) noise: Option<PathBuf>,
    /// Trace file to write.
    pub(crate) trace: Option<PathBuf>,
    /// Report file to write.
    pub(crate) report: Option<PathBuf>,
    /// How much to say.
    pub(crate) verbosity: Verbosity,
    /// Things the user should know about how the flags were read.
    pub(crate) notices: Vec<String>,
}

/// Width and height as far as the user gave them, multiples of [`SIDE_MULTIPLE`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ImageSize {
    /// Pixels across.
    pub(crate) width: Option<u32>,
    /// Pixels down.
    pub(crate) height: Option<u32>,
}

/// Where the model files are, from flags and environment.
#[derive(Debug, Clone)]
pub(crate) struct ModelSources {
    /// A ComfyUI tree or a diffusers folder.
    pub(crate) models: Option<PathBuf>,
    /// `--transformer`.
    pub(crate) transformer: Option<PathBuf>,
    /// `--text-encoder`.
    pub(crate) text_encoder: Option<PathBuf>,
    /// `--vae`.
    pub(crate) vae: Option<PathBuf>,
    /// `--tokenizer`.
    pub(crate) tokenizer: Option<PathBuf>,
}

impl GenerateConfig {
    /// Checks every flag and combination of flags. `environment` looks variables up.
    ///
    /// # Errors
    /// [`CliError::Usage`], naming the flag and what it takes.
    pub(crate) fn resolve(
        args: GenerateArgs,
        environment: &dyn Fn(&str) -> Option<OsString>,
    ) -> Result<Self, CliError> {
        // An empty variable is one that is not set.
        let variable = |name| {
            environment(name)
                .filter(|value| !value.is_empty())
                .map(PathBuf::from)
        };
        let mut notices = Vec::new();
        let size = ImageSize {
            width: side("width", args.width, &mut notices)?,
            height: side("height", args.height, &mut notices)?,
        };
        if args.steps == Some(1) {
            return usage(
                "--steps must be at least 2: with one step the schedule, which ends \
                 above zero noise, has no slope to follow",
            );
        }
        let steps = args
            .steps
            .map(|steps| ranged("steps", steps, *STEPS.start() as i64, *STEPS.end() as i64))
            .transpose()?;
        let count = ranged("batch-count", args.batch_count, 1, MAX_BATCH)?;
        let cfg_scale = args.cfg_scale;
        if !(1.0..=MAX_CFG_SCALE).contains(&cfg_scale) {
            return usage(format!(
                "--cfg-scale must be a number from 1 (no guidance) to {MAX_CFG_SCALE}, not {cfg_scale}"
            ));
        }
        let negative_prompt = match args.negative_prompt {
            _ if args.no_negative_prompt => None,
            given if cfg_scale == 1.0 => {
                if given.is_some() {
                    notices.push("--negative-prompt is not used with --cfg-scale 1".to_owned());
                }
                None
            }
            given => Some(given.unwrap_or_else(|| " ".to_owned())),
        };
        let seed = args.seed.map(|seed| {
            u64::try_from(seed).map_err(|_| {
                CliError::Usage(format!(
                    "--seed must be from 0 to {}, not {seed}; leave it out for a random one",
                    u64::MAX
                ))
            })
        });
        for (flag, given) in [
            ("--trace", args.trace.is_some()),
            ("--noise", args.noise.is_some()),
        ] {
            if given && count > 1 {
                return usage(format!(
                    "{flag} is about one image; leave --batch-count at 1"
                ));
            }
        }
        let mut config = Self {
            prompt: args.prompt,
            negative_prompt,
            size,
            steps,
            cfg_scale,
            seed: seed.transpose()?,
            count,
            output: OutputNames::parse(args.output.as_deref())?,
            sources: ModelSources {
                models: args.models.or_else(|| variable("QWEN_IMAGE_MODELS")),
                transformer: args.transformer,
                text_encoder: args.text_encoder,
                vae: args.vae,
                tokenizer: args.tokenizer,
            },
            backend: args.backend,
            device: args.device,
            dtype: args.dtype,
            vram_limit: args.vram_limit,
            noise: args.noise,
            trace: args.trace,
            report: args.report,
            verbosity: match (args.quiet, args.verbose) {
                (true, _) => Verbosity::Quiet,
                (_, true) => Verbosity::Verbose,
                _ => Verbosity::Normal,
            },
            notices,
        };
        if let (Some(trace), Some(report)) = (&config.trace, &config.report)
            && trace == report
        {
            return usage("--trace and --report name the same file");
        }
        config.sources.check_complete()?;
        if config.sources.is_demo() {
            config.notices.push(crate::demo::NOTICE.to_owned());
        } else if config.sources.tokenizer.is_none() {
            config.sources.tokenizer = variable("QWEN_IMAGE_TOKENIZER");
        }
        Ok(config)
    }

    /// Refuses an image that would overwrite the trace or the report.
    ///
    /// # Errors
    /// [`CliError::Usage`] naming the flag.
    pub(crate) fn check_distinct(&self, images: &[impl AsRef<Path>]) -> Result<(), CliError> {
        for (flag, file) in [("--trace", &self.trace), ("--report", &self.report)] {
            if let Some(file) = file
                && images.iter().any(|image| image.as_ref() == file)
            {
                return usage(format!(
                    "{flag} names the image's own file {}",
                    file.display()
                ));
            }
        }
        Ok(())
    }
}

impl ModelSources {
    /// Whether nothing is named, so that the built-in demo model is used.
    pub(crate) fn is_demo(&self) -> bool {
        let Self {
            models,
            transformer,
            text_encoder,
            vae,
            tokenizer,
        } = self;
        [models, transformer, text_encoder, vae, tokenizer]
            .iter()
            .all(|path| path.is_none())
    }

    /// Without a folder, every model or none must have its own flag.
    fn check_complete(&self) -> Result<(), CliError> {
        if self.models.is_some() || self.is_demo() {
            return Ok(());
        }
        let missing: Vec<&str> = [
            ("--transformer", &self.transformer),
            ("--text-encoder", &self.text_encoder),
            ("--vae", &self.vae),
        ]
        .into_iter()
        .filter_map(|(flag, path)| path.is_none().then_some(flag))
        .collect();
        match missing.as_slice() {
            [] => Ok(()),
            [_, _, _] => usage(
                "--tokenizer alone names no models: name a ComfyUI `models` tree or a diffusers \
                 folder with --models DIR or in QWEN_IMAGE_MODELS",
            ),
            some => usage(format!(
                "{} missing: give it, or a folder with --models DIR",
                some.join(" and ")
            )),
        }
    }
}

fn usage<T>(message: impl Into<String>) -> Result<T, CliError> {
    Err(CliError::Usage(message.into()))
}

fn ranged(flag: &str, value: i64, min: i64, max: i64) -> Result<usize, CliError> {
    match usize::try_from(value) {
        Ok(number) if (min..=max).contains(&value) => Ok(number),
        _ => usage(format!("--{flag} must be from {min} to {max}, not {value}")),
    }
}

/// Checks one side and rounds it down, as the reference pipeline does, so that the same numbers
/// give the same picture.
fn side(
    flag: &str,
    value: Option<i64>,
    notices: &mut Vec<String>,
) -> Result<Option<u32>, CliError> {
    let Some(value) = value else { return Ok(None) };
    let side = match u32::try_from(value) {
        Ok(side) if (SIDE_MULTIPLE..=MAX_SIDE).contains(&side) => side,
        _ => {
            return usage(format!(
                "--{flag} must be from {SIDE_MULTIPLE} to {MAX_SIDE} pixels, not {value}"
            ));
        }
    };
    let rounded = side - side % SIDE_MULTIPLE;
    if rounded != side {
        notices.push(format!(
            "{flag} {side} is not a multiple of {SIDE_MULTIPLE}; using {rounded}"
        ));
    }
    Ok(Some(rounded))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
