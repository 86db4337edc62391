//! `generate`'s flags, checked: after this no later code meets a value out of range.

use std::path::PathBuf;

use super::Verbosity;
use super::compute::ComputeConfig;
use super::environment::Environment;
use super::image_size::ImageSize;
use super::preview::PreviewConfig;
use super::raw::GenerateArgs;
use super::sources::ModelSources;
use crate::error::CliError;
use crate::output::names::OutputNames;

/// Denoising steps that can be asked for: with one, the schedule, which ends above zero noise, has
/// no slope to follow.
pub(crate) const STEPS: std::ops::RangeInclusive<usize> = 2..=1000;
/// The negative prompt where none is given.
pub(crate) const NEGATIVE_PROMPT: &str = " ";
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
    /// Where and how to compute.
    pub(crate) compute: ComputeConfig,
    /// Whether to print the memory plan and load nothing.
    pub(crate) dry_run: bool,
    /// A file with the noise to start from.
    pub(crate) noise: Option<PathBuf>,
    /// Previews to show.
    pub(crate) preview: Option<PreviewConfig>,
    /// Trace file to write.
    pub(crate) trace: Option<PathBuf>,
    /// Report file to write.
    pub(crate) report: Option<PathBuf>,
    /// How much to say.
    pub(crate) verbosity: Verbosity,
    /// Things the user should know about how the flags were read.
    pub(crate) notices: Vec<String>,
}

impl GenerateConfig {
    /// Checks every flag and combination of flags.
    ///
    /// # Errors
    /// [`CliError::Usage`], naming the flag and what it takes.
    pub(crate) fn resolve(
        args: GenerateArgs,
        environment: Environment<'_>,
    ) -> Result<Self, CliError> {
        let mut notices = Vec::new();
        let size = ImageSize::resolve(&args.size, &mut notices)?;
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
        let count = batch_count(args.batch_count)?;
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
            given => Some(given.unwrap_or_else(|| NEGATIVE_PROMPT.to_owned())),
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
        let config = Self {
            prompt: args.prompt,
            negative_prompt,
            size,
            steps,
            cfg_scale,
            seed: seed.transpose()?,
            count,
            output: OutputNames::parse(args.output.as_deref())?,
            compute: ComputeConfig::resolve(&args.compute, environment)?,
            sources: ModelSources::resolve(args.sources, environment, &mut notices)?,
            dry_run: args.dry_run,
            noise: args.noise,
            preview: PreviewConfig::resolve(&args.preview)?,
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
        Ok(config)
    }

    /// Refuses an image that would overwrite the trace or the report.
    ///
    /// # Errors
    /// [`CliError::Usage`] naming the flag.
    pub(crate) fn check_distinct<'a>(
        &self,
        images: impl Iterator<Item = &'a PathBuf> + Clone,
    ) -> Result<(), CliError> {
        for (flag, file) in [("--trace", &self.trace), ("--report", &self.report)] {
            if let Some(file) = file
                && images.clone().any(|image| image == file)
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

/// `--batch-count`, checked.
///
/// # Errors
/// [`CliError::Usage`].
pub(super) fn batch_count(value: i64) -> Result<usize, CliError> {
    ranged("batch-count", value, 1, MAX_BATCH)
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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
