//! `generate`'s flags, checked: after this no later code meets a value out of range.

use std::path::{Path, PathBuf};

use engine::record::{LostSetting, Recorded};
use engine::request::{Asked, ComputeConfig, ImageInput, ImageSize, ModelSources, Sampling};
use model::family::QWEN_IMAGE;

use super::Verbosity;
use super::environment::Environment;
use super::preview::PreviewConfig;
use super::raw::GenerateArgs;
use super::{checks, compute, image_input, lora, sampling, sources};
use crate::error::CliError;
use crate::output::file_key::file_key;
use crate::output::names::OutputNames;

/// The folder for what can be computed again.
const CACHE_VARIABLE: &str = "QWEN_IMAGE_CACHE";
/// The quality of JPEG files where none is given.
const QUALITY: i64 = 95;

/// The source of the prompts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum PromptSource {
    /// This is the only one; of an image that is made again it may be empty.
    One(String),
    /// None is known, and the longest is assumed: for a plan.
    Longest,
    /// The lines of this file; `-` is standard input.
    File(PathBuf),
}

/// The negative prompt as it was given; the scale decides whether it is used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NegativePrompt {
    given: Option<String>,
    off: bool,
}

impl NegativePrompt {
    /// The text at a scale, if there is guidance; `own` counts more than what was given for all.
    pub(crate) fn at(&self, cfg_scale: f64, own: Option<String>) -> Option<String> {
        if cfg_scale == 1.0 || (self.off && own.is_none()) {
            return None;
        }
        let given = own.or_else(|| self.given.clone());
        Some(given.unwrap_or_else(|| QWEN_IMAGE.negative_prompt.to_owned()))
    }
}

/// The checked arguments of `generate`.
#[derive(Debug)]
pub(crate) struct GenerateConfig {
    /// The source of the prompts.
    pub(crate) prompt: PromptSource,
    /// The negative prompt.
    pub(crate) negative_prompt: NegativePrompt,
    /// Sides asked for, not yet rounded; `None` leaves them to the model.
    pub(crate) size: ImageSize,
    /// Denoising steps, as the schedule can have them; `None` leaves them to the model.
    pub(crate) steps: Option<usize>,
    /// How noise becomes an image.
    pub(crate) sampling: Sampling,
    /// Which parts of that are not left to the models folder.
    pub(crate) asked: Asked,
    /// Guidance scale, as the preset can have it.
    pub(crate) cfg_scale: f64,
    /// Seed of the first image; `None` draws one.
    pub(crate) seed: Option<u64>,
    /// Images to make of each prompt, at least 1.
    pub(crate) count: usize,
    /// The names of the images' files.
    pub(crate) output: OutputNames,
    /// Quality of JPEG files, 1 to 100.
    pub(crate) quality: u8,
    /// True if it was asked for.
    pub(crate) quality_given: bool,
    /// True if images that are there already are skipped.
    pub(crate) resume: bool,
    /// True if files that hold other images are replaced.
    pub(crate) overwrite: bool,
    /// The image that is made again.
    pub(crate) from: Option<Recorded>,
    /// The folder of embeddings of earlier runs, if they may be used.
    pub(crate) prompt_cache: Option<PathBuf>,
    /// The folder of timesteps' modulations of earlier runs, if they may be used.
    pub(crate) modulations: Option<PathBuf>,
    /// The folder of latents that wait for the decoder, if they may be kept.
    pub(crate) latents: Option<PathBuf>,
    /// The folder of the rates of disks and devices.
    pub(crate) rates: Option<PathBuf>,
    /// The model files.
    pub(crate) sources: ModelSources,
    /// The device and the numerics.
    pub(crate) compute: ComputeConfig,
    /// True if the memory plan is printed and nothing is loaded.
    pub(crate) dry_run: bool,
    /// An image to start from.
    pub(crate) image: Option<ImageInput>,
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
    /// Checks every flag and combination of flags, and reads the image of `--from`.
    ///
    /// # Errors
    /// [`CliError::Usage`], naming the flag and what it takes; [`engine::Error::Input`] about the
    /// image.
    pub(crate) fn resolve(
        args: GenerateArgs,
        environment: Environment<'_>,
    ) -> Result<Self, CliError> {
        let from_file = args.images.from.is_some() || args.images.prompt_file.is_some();
        if !(from_file || args.prompt.is_given()) {
            return usage(
                "no prompt is given; tip: qwen-image generate \"a red circle\" (or --prompt-file \
                 FILE, or --from IMAGE)",
            );
        }
        Self::of_plan(args, environment)
    }

    /// The same where no prompt need be given, since nothing is drawn.
    ///
    /// # Errors
    /// The same as [`Self::resolve`].
    pub(super) fn of_plan(
        args: GenerateArgs,
        environment: Environment<'_>,
    ) -> Result<Self, CliError> {
        let mut notices = Vec::new();
        let prompt = args.prompt.prompt(&mut notices)?;
        let negative_prompt = args.prompt.negative_prompt(&mut notices)?.cloned();
        let from = args.images.from.as_deref().map(Recorded::read);
        let from = from.transpose()?;
        let recorded = from.as_ref();
        // A value that comes from the image and not from a flag is the image's fault.
        let blame = |given: bool, error: CliError| match (recorded, error) {
            (Some(from), CliError::Usage(reason)) if !given => {
                CliError::input(format!("{}: {reason}", from.path.display()))
            }
            (_, error) => error,
        };
        if let Some(from) = recorded {
            from.check_lost(|setting| match setting {
                LostSetting::Loras => !args.loras.loras.is_empty(),
                LostSetting::Lightning => args.loras.lightning.is_some(),
                LostSetting::InitImage => args.image.init_image.is_some(),
                LostSetting::Mask => args.image.mask.is_some(),
                LostSetting::MaskCrop => args.image.mask_crop.is_some(),
                LostSetting::Noise => args.noise.is_some() || args.seed.is_some(),
                LostSetting::Strength => args.image.strength.is_some(),
                LostSetting::Fp8Compute => args.compute.fp8_compute,
            })?;
        }
        let mut side = |flag, given: Option<i64>, recorded: Option<i64>| {
            let value = given.or(recorded);
            let side = value.map(|value| checks::side(flag, value, &mut notices));
            side.transpose()
                .map_err(|error| blame(given.is_some(), error))
        };
        let recorded_width = recorded.and_then(|from| from.width);
        let recorded_height = recorded.and_then(|from| from.height);
        let size = ImageSize {
            width: side("--width", args.size.width, recorded_width)?,
            height: side("--height", args.size.height, recorded_height)?,
        };
        let loras = lora::resolve(&args.loras, recorded)?;
        lora::check_lightning(
            &loras,
            args.steps,
            args.cfg_scale,
            negative_prompt.is_some(),
        )?;
        let lightning = loras.lightning.is_some();
        let levels_given = args.sampling.schedule.is_some() || args.loras.lightning.is_some();
        let mut recorded_sampling = recorded.and_then(|from| from.sampling.clone());
        if let (Some(steps), Some(from), Some(sampling)) =
            (loras.lightning, recorded, &mut recorded_sampling)
            && args.loras.lightning.is_some()
        {
            let listed = sampling.schedule.listed_steps();
            // The levels of an image without Lightning, or of one of other steps.
            if from.lightning.is_none() || listed.is_some_and(|listed| listed != steps) {
                sampling.schedule = sampling.preset.schedule(lightning);
            }
        }
        let asked = sampling::asked(&args.sampling, recorded_sampling.as_ref(), lightning);
        let sampling = sampling::resolve(args.sampling, recorded_sampling.as_ref(), lightning);
        if let (Some(steps), Some(listed)) = (loras.lightning, sampling.schedule.listed_steps())
            && steps != listed
        {
            let fault = format!(
                "--lightning {steps} takes {steps} steps, and --schedule lists {listed} noise \
                 levels: leave one of them out"
            );
            return Err(blame(levels_given, CliError::Usage(fault)));
        }
        let listed = sampling.schedule.listed_steps();
        let recorded_steps = recorded.and_then(|from| from.steps);
        let steps = args
            .steps
            .or(recorded_steps.filter(|_| listed.is_none() && !lightning));
        let steps = steps
            .map(|steps| checks::steps("--steps", steps, &sampling.schedule))
            .transpose()
            .map_err(|error| blame(args.steps.is_some(), error))?
            .or(listed);
        let count = batch_count(args.batch_count)?;
        let recorded_scale = recorded.and_then(|from| from.cfg_scale);
        let cfg_scale = args.cfg_scale.or(recorded_scale.filter(|_| !lightning));
        let usual = match lightning {
            true => QWEN_IMAGE.lightning.cfg_scale,
            false => QWEN_IMAGE.cfg_scale,
        };
        let cfg_scale = cfg_scale.unwrap_or(usual);
        let cfg_scale = checks::cfg_scale("--cfg-scale", cfg_scale, sampling.preset)
            .map_err(|error| blame(args.cfg_scale.is_some(), error))?;
        if cfg_scale == 1.0 && negative_prompt.is_some() {
            notices.push("--negative-prompt is not used with --cfg-scale 1".to_owned());
        }
        let negative_prompt = NegativePrompt {
            off: args.prompt.no_negative_prompt,
            given: negative_prompt
                .or_else(|| recorded.and_then(|from| from.negative_prompt.clone())),
        };
        let seed = args.seed.or(recorded.and_then(|from| from.seed));
        let seed = seed
            .map(|seed| checks::seed("--seed", seed))
            .transpose()
            .map_err(|error| blame(args.seed.is_some(), error))?;
        if let Some(from) = recorded
            && seed.is_none()
            && args.noise.is_none()
        {
            from.check_noise()?;
        }
        let file = args.images.prompt_file;
        if args.images.resume && file.is_none() && seed.is_none() {
            return usage("--resume needs --seed: with a random one every run makes other images");
        }
        // A run that is to be continued has the same seeds each time.
        let seed = seed.or(file.is_some().then_some(0));
        for (flag, file) in [
            ("--output", &args.output),
            ("--trace", &args.trace),
            ("--report", &args.report),
        ] {
            if file.as_deref() == Some(Path::new("-")) {
                return usage(format!(
                    "{flag} -: standard output has the images' paths; name a file (./- is one \
                     too)"
                ));
            }
        }
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
        let recipe = recorded.and_then(|from| from.recipe.as_ref());
        let mut compute_args = args.compute;
        compute_args.fp8_compute |= recipe.is_some_and(|recipe| recipe.fp8_compute);
        let compute = compute::resolve(&compute_args, environment)?;
        if let Some(from) = recorded
            && args.image.init_image.is_none()
        {
            from.check_init_image()?;
        }
        let image = image_input::resolve(args.image, recorded)?;
        let quality = checks::ranged(
            "--quality",
            args.images.quality.unwrap_or(QUALITY),
            checks::QUALITIES,
        )?;
        let prompt = prompt.or_else(|| recorded.map(|from| from.prompt.clone()));
        let resume = args.images.resume || file.is_some();
        let prompt = match (file, prompt) {
            (Some(file), _) => PromptSource::File(file),
            (None, Some(prompt)) => PromptSource::One(prompt),
            (None, None) => PromptSource::Longest,
        };
        // A record of a run is of all its phases.
        let of_all_phases = args.trace.is_some() || args.report.is_some();
        let config = Self {
            prompt,
            negative_prompt,
            size,
            steps,
            sampling,
            asked,
            cfg_scale,
            seed,
            count,
            output: OutputNames::parse(args.output.as_deref())?,
            quality: quality as u8,
            quality_given: args.images.quality.is_some(),
            resume,
            overwrite: args.images.overwrite,
            from,
            prompt_cache: cache_folder(environment, "prompts")
                .filter(|_| !of_all_phases && !args.images.no_prompt_cache),
            modulations: cache_folder(environment, "modulations")
                .filter(|_| !of_all_phases && !args.images.no_prompt_cache),
            latents: cache_folder(environment, "latents").filter(|_| !of_all_phases),
            rates: cache_folder(environment, "rates"),
            compute,
            sources: sources::resolve(args.sources, loras, environment, &mut notices)?,
            dry_run: args.dry_run,
            image,
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
            && file_key(trace) == file_key(report)
        {
            return usage("--trace and --report name the same file");
        }
        Ok(config)
    }
}

/// `--batch-count`, checked.
///
/// # Errors
/// [`CliError::Usage`].
fn batch_count(value: i64) -> Result<usize, CliError> {
    checks::ranged("--batch-count", value, 1..=checks::MAX_BATCH)
}

/// The folder in which something is kept between runs.
fn cache_folder(environment: Environment<'_>, what: &str) -> Option<PathBuf> {
    let own = environment.get(CACHE_VARIABLE).map(PathBuf::from);
    let folder = own.or_else(|| Some(dirs::cache_dir()?.join("qwen-image-burn")));
    Some(folder?.join(what))
}

fn usage<T>(message: impl Into<String>) -> Result<T, CliError> {
    Err(CliError::Usage(message.into()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
