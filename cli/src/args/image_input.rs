//! The flags about an image to start from.

use std::path::PathBuf;

use clap::Args;
use engine::record::Recorded;
use engine::request::ImageInput;

use super::checks;
use crate::error::CliError;

/// The heading that `--help` lists them under.
const HEADING: &str = "Start from an image";
/// The strength where none is given, as in diffusers.
const STRENGTH: f64 = 0.6;
/// The most pixels around a masked part: as many as the longest side that is read.
const MAX_MASK_CROP: usize = 32_768;

/// An image to start from.
#[derive(Debug, Default, Args)]
pub(crate) struct ImageInputArgs {
    /// Start from this image (PNG, JPEG, WebP, BMP, GIF, TIFF) instead of noise alone; the image
    /// takes its size unless -W and -H give another, and transparent parts are white
    #[arg(long, value_name = "FILE", help_heading = HEADING)]
    pub(crate) init_image: Option<PathBuf>,

    /// Repaint only where this image is white, or where it is transparent if it is not black and
    /// white itself, and leave the rest of the init image; it is stretched to the image's size
    #[arg(long, value_name = "FILE", help_heading = HEADING)]
    pub(crate) mask: Option<PathBuf>,

    /// Draw only the masked part with this many pixels around it, at the size of -W and -H, and put
    /// it back into the init image, whose size the written image has
    #[arg(
        long,
        value_name = "PX",
        allow_negative_numbers = true,
        help_heading = HEADING
    )]
    pub(crate) mask_crop: Option<i64>,

    /// How much of the init image is changed: above 0, up to 1 for everything. That part of the
    /// steps is run; with --preset comfyui all steps, the last ones of so many more [default: 0.6]
    #[arg(
        long,
        value_name = "PART",
        value_parser = super::checks::parse_strength,
        allow_negative_numbers = true,
        help_heading = HEADING
    )]
    pub(crate) strength: Option<f64>,
}

/// Checks the flags, and takes the strength and the mask's crop from an image that is made again
/// where they give none; `None` without an image to start from.
///
/// # Errors
/// [`CliError::Usage`], naming the flag.
pub(super) fn resolve(
    args: ImageInputArgs,
    recorded: Option<&Recorded>,
) -> Result<Option<ImageInput>, CliError> {
    let usage = |message: String| Err(CliError::Usage(message));
    if let Some(strength) = args.strength
        && !(strength > 0.0 && strength <= 1.0)
    {
        return usage(format!(
            "--strength must be above 0 and at most 1, not {strength}"
        ));
    }
    let mask_crop = match args.mask_crop {
        Some(pixels) => Some(checks::ranged("--mask-crop", pixels, 0..=MAX_MASK_CROP)? as u32),
        None => None,
    };
    if mask_crop.is_some() && args.mask.is_none() {
        return usage("--mask-crop needs --mask".to_owned());
    }
    let Some(init_image) = args.init_image else {
        let given = [
            ("--mask", args.mask.is_some()),
            ("--strength", args.strength.is_some()),
        ];
        return match given.iter().find(|(_, given)| *given) {
            Some((flag, _)) => usage(format!("{flag} needs --init-image")),
            None => Ok(None),
        };
    };
    let recorded_crop = recorded.and_then(|from| from.recipe.as_ref()?.mask_crop);
    Ok(Some(ImageInput {
        init_image,
        mask_crop: mask_crop.or(recorded_crop.filter(|_| args.mask.is_some())),
        mask: args.mask,
        strength: args
            .strength
            .or(recorded.and_then(|from| from.strength))
            .unwrap_or(STRENGTH),
    }))
}

/// The files that are read, with their flags.
pub(crate) fn image_files(input: &ImageInput) -> impl Iterator<Item = (&'static str, &PathBuf)> {
    let mask = input.mask.iter().map(|mask| ("--mask", mask));
    std::iter::once(("--init-image", &input.init_image)).chain(mask)
}
