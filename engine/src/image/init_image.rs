//! The image that a run begins with, and its mask.

use std::path::Path;

use image::{DynamicImage, RgbImage};
use model::family::QWEN_IMAGE;
use model::init_image::{LatentMask, StartStyle};
use model::latents::TokenGrid;
use serde::{Deserialize, Serialize};

use super::crop::{self, Marked, Region, resize_and_fill};
use super::decode::{decode, opaque};
use super::file;
use super::mask::{self, AlphaUse, greys};
use super::resize::{Filter, resize};
use crate::error::Error;
use crate::image::Ground;
use crate::request::{ImageInput, ImageSize, MAX_SIDE, SIDE_MULTIPLE};

/// The name and the digest of a file, which tell its contents from another's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stamp {
    /// The file's name, without the folder.
    pub name: String,
    /// The SHA-256 of its contents in hexadecimal.
    pub sha256: String,
}

/// An image to start from, as its files have it.
#[derive(Debug)]
pub struct InitImage {
    /// The image's file.
    pub stamp: Stamp,
    /// The mask's file.
    pub mask_stamp: Option<Stamp>,
    /// The strength: how much of the image is changed, above 0 and at most 1.
    pub strength: f64,
    /// The ground behind the transparent parts of the image, if it has any.
    filled: Option<Ground>,
    /// The use of the mask's alpha channel, where it has holes.
    mask_alpha: Option<AlphaUse>,
    /// The pixels around the masked part that are drawn with it, where that part alone is drawn.
    pub mask_crop: Option<u32>,
    /// The mask's own size, where it was stretched to the image's to be cropped with it.
    mask_stretched: Option<(u32, u32)>,
    image: RgbImage,
    mask: Option<RgbImage>,
    /// The part where the mask is not black, if only that part is drawn.
    marked: Option<Marked>,
}

impl InitImage {
    /// Reads the files; `ground` lies behind what is transparent in the image.
    ///
    /// # Errors
    /// [`Error::Image`] for one that is no image, and for a mask that is black everywhere
    /// where only what it marks would be drawn.
    pub fn read(input: &ImageInput, ground: Ground) -> Result<Self, Error> {
        let (stamp, image) = read(&input.init_image)?;
        let filled = has_holes(&image).then_some(ground);
        let image = opaque(image, ground);
        let mut init = Self {
            stamp,
            mask_stamp: None,
            strength: input.strength,
            filled,
            mask_alpha: None,
            mask_crop: input.mask_crop,
            mask_stretched: None,
            image,
            mask: None,
            marked: None,
        };
        if let Some(path) = &input.mask {
            let (stamp, mask) = read(path)?;
            init.mask_stamp = Some(stamp);
            let (mask, alpha) = mask::of_image(mask);
            init.mask_alpha = alpha;
            init.mask = Some(init.croppable(mask, path)?);
        }
        Ok(init)
    }

    /// The mask at the image's size, if the two are to be cropped together.
    fn croppable(&mut self, mask: RgbImage, path: &Path) -> Result<RgbImage, Error> {
        if self.mask_crop.is_none() {
            return Ok(mask);
        }
        let (width, height) = self.dimensions();
        let size = mask.dimensions();
        let mask = if size == (width, height) {
            mask
        } else {
            self.mask_stretched = Some(size);
            resize(&mask, width, height, Filter::Lanczos)
        };
        self.marked = Marked::of(&greys(&mask));
        if self.marked.is_none() {
            let reason = "marks nothing: it is black everywhere, so there is no part to crop to";
            return Err(Error::image(path, reason));
        }
        Ok(mask)
    }

    /// Notes for the user on how the files were read.
    pub fn notices(&self) -> impl Iterator<Item = String> {
        let name = self.mask_stamp.as_ref().map_or("", |stamp| &stamp.name);
        let alpha = self.mask_alpha.map(|alpha| alpha.note(name));
        // With a mask it is plain what becomes of them.
        let filled = self.filled.filter(|_| self.mask.is_none()).map(|ground| {
            let colours = match ground {
                Ground::White => "are white",
                Ground::Black => "are black",
                Ground::Own => "have the colours that the file has for them",
            };
            format!(
                "the transparent parts of the init image {} {colours}; to repaint them alone, give \
                 the file as the mask too",
                self.stamp.name
            )
        });
        let stretched = self.mask_stretched.map(|(width, height)| {
            let (across, down) = self.dimensions();
            format!(
                "the mask {name} of {width}x{height} pixels is stretched to the init image's \
                 {across}x{down}"
            )
        });
        filled.into_iter().chain(alpha).chain(stretched)
    }

    /// The image's own width and height.
    pub fn dimensions(&self) -> (u32, u32) {
        self.image.dimensions()
    }

    /// The size of the image to be drawn: what is asked for, and else the image's own, rounded
    /// down to whole tokens, or with its shape as large as the published model draws.
    pub fn size(&self, wanted: ImageSize) -> (u32, u32) {
        let (width, height) = self.dimensions();
        let (width, height) = (f64::from(width), f64::from(height));
        // Larger images are asked for by their sides.
        let most = QWEN_IMAGE.default_size().pixels() as f64;
        let shrink = (most / (width * height)).sqrt().min(1.0);
        let (across, down) = match (wanted.width, wanted.height) {
            (Some(across), Some(down)) => return (across, down),
            (Some(across), None) => (f64::from(across), f64::from(across) * height / width),
            (None, Some(down)) => (f64::from(down) * width / height, f64::from(down)),
            (None, None) => (width * shrink, height * shrink),
        };
        (whole_tokens(across), whole_tokens(down))
    }

    /// The part of the image that is drawn at a size, where it is not the whole.
    pub fn region(&self, width: u32, height: u32) -> Option<Region> {
        Some(self.marked?.region(self.mask_crop?, width, height))
    }

    /// The image, or the part of it that is drawn, at a size and as the VAE takes it:
    /// `[3, height, width]` in `[-1, 1]`.
    pub fn planes_at(&self, width: u32, height: u32) -> Vec<f32> {
        let image = self.at_size(&self.image, width, height);
        let plane = |channel: usize| {
            let pixels = image.pixels();
            pixels.map(move |pixel| 2.0 * (f32::from(pixel.0[channel]) / 255.0) - 1.0)
        };
        (0..3).flat_map(plane).collect()
    }

    /// The mask of the latents of an image of a size, if there is a mask.
    pub fn mask_at(&self, width: u32, height: u32, style: StartStyle) -> Option<LatentMask> {
        let mask = self.mask.as_ref()?;
        let grid = TokenGrid::of_image(width as usize, height as usize);
        let soft = style == StartStyle::ComfyUi;
        if soft && self.mask_crop.is_none() {
            let size = [mask.width() as usize, mask.height() as usize];
            return Some(LatentMask::soft(greys(mask).as_raw(), size, grid));
        }
        let greys = greys(&self.at_size(mask, width, height));
        Some(if soft {
            LatentMask::soft(greys.as_raw(), [width as usize, height as usize], grid)
        } else {
            LatentMask::binary(greys.as_raw(), grid)
        })
    }

    /// The image or its mask, stretched to a size or cropped for it.
    fn at_size(&self, image: &RgbImage, width: u32, height: u32) -> RgbImage {
        match self.region(width, height) {
            Some(region) => resize_and_fill(&region.of(image), width, height),
            None => resize(image, width, height, Filter::Lanczos),
        }
    }

    /// The image with what was drawn of its masked part in it; `None` where the whole was drawn.
    pub fn overlaid(&self, drawn: &RgbImage) -> Option<RgbImage> {
        let region = self.region(drawn.width(), drawn.height())?;
        let mask = greys(self.mask.as_ref()?);
        Some(crop::overlay(&self.image, &mask, region, drawn))
    }
}

/// Tells whether anything is transparent in an image of 8-bit samples.
fn has_holes(image: &DynamicImage) -> bool {
    let (samples, channels) = match image {
        DynamicImage::ImageRgba8(image) => (image.as_raw(), 4),
        DynamicImage::ImageLumaA8(image) => (image.as_raw(), 2),
        _ => return false,
    };
    let mut pixels = samples.chunks_exact(channels);
    pixels.any(|pixel| pixel.last() != Some(&255))
}

fn read(path: &Path) -> Result<(Stamp, DynamicImage), Error> {
    let bytes = file::read(path)?;
    let image = decode(&bytes, path)?;
    let name = path.file_name().unwrap_or_default();
    let stamp = Stamp {
        name: name.to_string_lossy().into_owned(),
        sha256: file::sha256(&bytes),
    };
    Ok((stamp, image))
}

/// A side rounded down, as diffusers' image processor does it, within the sides that can be asked
/// for.
fn whole_tokens(side: f64) -> u32 {
    // The quotient of sides that are equal may fall short of them by a little.
    let side = (side + 1e-6).clamp(f64::from(SIDE_MULTIPLE), f64::from(MAX_SIDE)) as u32;
    side - side % SIDE_MULTIPLE
}
