//! Flags of `download`, and checked.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::Verbosity;
use super::environment::Environment;
use crate::error::CliError;

/// Flags of `download`.
#[derive(Debug, Args)]
pub(crate) struct DownloadArgs {
    /// Which model to download, with what it needs
    #[arg(long, value_enum, ignore_case = true, value_name = "NAME", default_value_t = Variant::Fp8)]
    pub(crate) variant: Variant,

    /// Folder to put the files into, as a ComfyUI `models` tree
    /// [default: the one in QWEN_IMAGE_MODELS, else qwen-image-burn/models in the user's data
    /// folder]
    #[arg(long, value_name = "DIR")]
    pub(crate) models: Option<PathBuf>,

    /// Read files that are there already too, and download those anew that are not what was published
    #[arg(long)]
    pub(crate) verify: bool,

    /// Say what would be downloaded, and download nothing
    #[arg(long)]
    pub(crate) dry_run: bool,

    /// Say nothing but errors
    #[arg(short, long)]
    pub(crate) quiet: bool,
}

/// The sets of files by their names at the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Variant {
    /// Qwen-Image, FP8 without scales: the file that most ComfyUI users have
    Fp8,
    /// Qwen-Image, FP8 with scales: closer to BF16 at the same size, and what LoRAs go with
    Fp8Scaled,
    /// Qwen-Image, BF16: twice the size
    Bf16,
    /// Qwen-Image-2512, FP8 without scales
    #[value(name = "2512")]
    V2512,
    /// The Lightning LoRAs for 4 and 8 steps, with fp8-scaled unless a transformer is there
    Lightning,
}

impl From<Variant> for hub::Variant {
    fn from(variant: Variant) -> Self {
        match variant {
            Variant::Fp8 => Self::Fp8,
            Variant::Fp8Scaled => Self::Fp8Scaled,
            Variant::Bf16 => Self::Bf16,
            Variant::V2512 => Self::V2512,
            Variant::Lightning => Self::Lightning,
        }
    }
}

/// The checked arguments of `download`.
#[derive(Debug)]
pub(crate) struct DownloadConfig {
    /// The set of files.
    pub(crate) variant: hub::Variant,
    /// The folder that they go to.
    pub(crate) models: PathBuf,
    /// True if `generate` looks there by itself.
    pub(crate) is_usual: bool,
    /// True if files that are there already are checked.
    pub(crate) verify: bool,
    /// True if nothing is fetched.
    pub(crate) dry_run: bool,
    /// How much to say.
    pub(crate) verbosity: Verbosity,
}

impl DownloadConfig {
    /// The flags, completed by QWEN_IMAGE_MODELS and the data folder.
    ///
    /// # Errors
    /// There is no folder to put the files into.
    pub(crate) fn resolve(
        args: DownloadArgs,
        environment: Environment<'_>,
    ) -> Result<Self, CliError> {
        let is_usual = args.models.is_none();
        let models = args
            .models
            .or_else(|| environment.models_variable())
            .or_else(|| environment.models_folder())
            .ok_or_else(|| {
                CliError::Usage(
                    "there is no home folder to put the models into: name a folder with --models \
                     DIR"
                    .to_owned(),
                )
            })?;
        Ok(Self {
            variant: args.variant.into(),
            models,
            is_usual,
            verify: args.verify,
            dry_run: args.dry_run,
            verbosity: if args.quiet {
                Verbosity::Quiet
            } else {
                Verbosity::Normal
            },
        })
    }
}
