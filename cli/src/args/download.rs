//! Flags of `download`, and checked.

use std::path::PathBuf;

use clap::Args;

use super::Verbosity;
use super::environment::Environment;
use crate::download::{DownloadError, Variant};

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

/// What `download` was asked to do.
#[derive(Debug)]
pub(crate) struct DownloadConfig {
    /// The set of files.
    pub(crate) variant: Variant,
    /// Where they go.
    pub(crate) models: PathBuf,
    /// Whether `generate` looks there by itself.
    pub(crate) is_usual: bool,
    /// Whether to check files that are there already.
    pub(crate) verify: bool,
    /// Whether to fetch nothing.
    pub(crate) dry_run: bool,
    /// How much to say.
    pub(crate) verbosity: Verbosity,
}

impl DownloadConfig {
    /// The flags, completed by QWEN_IMAGE_MODELS and the data folder.
    ///
    /// # Errors
    /// [`DownloadError::NoFolder`].
    pub(crate) fn resolve(
        args: DownloadArgs,
        environment: Environment<'_>,
    ) -> Result<Self, DownloadError> {
        let is_usual = args.models.is_none();
        let models = args
            .models
            .or_else(|| environment.models_variable())
            .or_else(|| environment.models_folder())
            .ok_or(DownloadError::NoFolder)?;
        Ok(Self {
            variant: args.variant,
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
