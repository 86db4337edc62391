//! The picture that a run begins with, and its mask.

use std::path::Path;

use image::RgbImage;
use model::init_image::{LatentMask, StartStyle};
use model::latents::TokenGrid;
use serde::{Deserialize, Serialize};

use super::decode::{Ground, decode};
use super::file;
use super::resize::resize;
use crate::args::{ImageInput, ImageSize, MAX_SIDE, SIDE_MULTIPLE};
use crate::error::CliError;

/// Most pixels of an image whose size is its init image's: those of the published model's largest
/// square. Larger ones are asked for with -W and -H.
const MAX_OWN_PIXELS: f64 = 1328.0 * 1328.0;

/// What tells one file's contents from another's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Stamp {
    /// Its name, without the folder.
    pub(crate) name: String,
    /// The SHA-256 of its contents in hexadecimal.
    pub(crate) sha256: String,
}

/// A picture to start from, as its files have it.
#[derive(Debug)]
pub(crate) struct InitPicture {
    /// The picture's file.
    pub(crate) stamp: Stamp,
    /// The mask's file.
    pub(crate) mask_stamp: Option<Stamp>,
    /// How much of it is changed, above 0 and at most 1.
    pub(crate) strength: f64,
    picture: RgbImage,
    mask: Option<RgbImage>,
}

impl InitPicture {
    /// Reads the files.
    ///
    /// # Errors
    /// [`CliError::Picture`] for one that is no picture.
    pub(crate) fn read(input: &ImageInput) -> Result<Self, CliError> {
        let (stamp, picture) = read(&input.init_image, Ground::White)?;
        let mask = input.mask.as_deref();
        let mask = mask.map(|path| read(path, Ground::Black)).transpose()?;
        let (mask_stamp, mask) = mask.unzip();
        Ok(Self {
            stamp,
            mask_stamp,
            strength: input.strength,
            picture,
            mask,
        })
    }

    /// The picture's own width and height.
    pub(crate) fn dimensions(&self) -> (u32, u32) {
        self.picture.dimensions()
    }

    /// The size of the image to be drawn: what is asked for, and else the picture's own, rounded
    /// down to whole tokens, or with its shape as large as the published model draws.
    pub(crate) fn size(&self, wanted: ImageSize) -> (u32, u32) {
        let (width, height) = self.dimensions();
        let (width, height) = (f64::from(width), f64::from(height));
        let shrink = (MAX_OWN_PIXELS / (width * height)).sqrt().min(1.0);
        let (across, down) = match (wanted.width, wanted.height) {
            (Some(across), Some(down)) => return (across, down),
            (Some(across), None) => (f64::from(across), f64::from(across) * height / width),
            (None, Some(down)) => (f64::from(down) * width / height, f64::from(down)),
            (None, None) => (width * shrink, height * shrink),
        };
        (whole_tokens(across), whole_tokens(down))
    }

    /// The picture stretched to a size as the VAE takes it: `[3, height, width]` in `[-1, 1]`.
    ///
    /// # Errors
    /// As of [`resize`].
    pub(crate) fn planes_at(&self, width: u32, height: u32) -> Result<Vec<f32>, CliError> {
        let picture = resize(&self.picture, width, height)?;
        let plane = |channel: usize| {
            let pixels = picture.pixels();
            pixels.map(move |pixel| 2.0 * (f32::from(pixel.0[channel]) / 255.0) - 1.0)
        };
        Ok((0..3).flat_map(plane).collect())
    }

    /// What the mask says of the latents of an image of a size, if there is one.
    ///
    /// # Errors
    /// As of [`resize`].
    pub(crate) fn mask_at(
        &self,
        width: u32,
        height: u32,
        style: StartStyle,
    ) -> Result<Option<LatentMask>, CliError> {
        let Some(mask) = &self.mask else {
            return Ok(None);
        };
        let grid = TokenGrid::of_image(width as usize, height as usize);
        let greys = |mask: &RgbImage| mask.pixels().map(|pixel| grey(pixel.0)).collect::<Vec<_>>();
        Ok(Some(match style {
            StartStyle::Diffusers => {
                LatentMask::binary(&greys(&resize(mask, width, height)?), grid)
            }
            StartStyle::ComfyUi => {
                let size = [mask.width() as usize, mask.height() as usize];
                LatentMask::soft(&greys(mask), size, grid)
            }
        }))
    }
}

fn read(path: &Path, ground: Ground) -> Result<(Stamp, RgbImage), CliError> {
    let bytes = file::read(path)?;
    let picture = decode(&bytes, ground, path)?;
    let name = path.file_name().unwrap_or_default();
    let stamp = Stamp {
        name: name.to_string_lossy().into_owned(),
        sha256: file::sha256(&bytes),
    };
    Ok((stamp, picture))
}

/// A side rounded down, as diffusers' image processor does it, within the sides that can be asked
/// for.
fn whole_tokens(side: f64) -> u32 {
    // The quotient of sides that are equal may fall short of them by a little.
    let side = (side + 1e-6).clamp(f64::from(SIDE_MULTIPLE), f64::from(MAX_SIDE)) as u32;
    side - side % SIDE_MULTIPLE
}

/// Luma by ITU-R 601-2, in Pillow's fixed-point arithmetic.
fn grey([red, green, blue]: [u8; 3]) -> u8 {
    let sum = u32::from(red) * 19_595 + u32::from(green) * 38_470 + u32::from(blue) * 7_471;
    // The weights are 2^16 together, so that white is 255.
    ((sum + 0x8000) >> 16) as u8
}
