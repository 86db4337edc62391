//! Resizing, as diffusers' image processor does it: Pillow's Lanczos filter on 8-bit samples.

use fast_image_resize::images::{Image, ImageRef};
use fast_image_resize::pixels::U8x3;
use fast_image_resize::{FilterType, PixelType, ResizeAlg, ResizeOptions, Resizer};
use image::RgbImage;

use crate::error::CliError;

/// The picture stretched to `width` x `height`. The windowed sinc is widened where the picture
/// shrinks, so that nothing is skipped.
///
/// # Errors
/// [`CliError::Internal`] for sizes that are none.
pub(super) fn resize(picture: &RgbImage, width: u32, height: u32) -> Result<RgbImage, CliError> {
    // Rows first, as Pillow does it: what overshoots in between is cut off at black and white.
    let rows = along_one_axis(picture, width, picture.height())?;
    along_one_axis(&rows, width, height)
}

/// The same, where one of the sides stays.
fn along_one_axis(picture: &RgbImage, width: u32, height: u32) -> Result<RgbImage, CliError> {
    if picture.dimensions() == (width, height) {
        return Ok(picture.clone());
    }
    let internal = |error: &dyn std::fmt::Display| CliError::Internal(format!("resize: {error}"));
    let (from_width, from_height) = picture.dimensions();
    let source = ImageRef::new(from_width, from_height, picture.as_raw(), PixelType::U8x3)
        .map_err(|error| internal(&error))?;
    let mut resized = Image::new(width, height, PixelType::U8x3);
    let options = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(FilterType::Lanczos3));
    // `Resizer::resize` would have all kinds of pixels compiled into this crate, 4 MB and minutes of them.
    let (source, mut target) = source
        .typed_image::<U8x3>()
        .zip(resized.typed_image_mut::<U8x3>())
        .ok_or_else(|| internal(&"the pixels are of another kind"))?;
    Resizer::new()
        .resize_typed(&source, &mut target, &options)
        .map_err(|error| internal(&error))?;
    RgbImage::from_raw(width, height, resized.into_vec())
        .ok_or_else(|| internal(&"the result has another size"))
}
