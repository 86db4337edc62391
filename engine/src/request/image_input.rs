//! An image to start from.

use std::path::PathBuf;

/// An image to start from, and how much of it is changed.
#[derive(Debug, Clone, PartialEq)]
pub struct ImageInput {
    /// The image's file.
    pub init_image: PathBuf,
    /// The mask's file, which is white where the image is repainted.
    pub mask: Option<PathBuf>,
    /// The pixels around the masked part that are drawn with it; `None` to draw the whole image.
    pub mask_crop: Option<u32>,
    /// How much of the image is changed, above 0 and at most 1.
    pub strength: f64,
}
