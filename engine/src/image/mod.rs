//! Pixels: images that a run begins with, masks, and the image that it makes.

mod crop;
mod decode;
mod file;
mod format;
mod ground;
mod init_image;
mod mask;
mod resize;
mod rgb;
mod rounding;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;

pub use crop::Region;
pub use format::Format;
pub use ground::Ground;
pub use init_image::{InitImage, Stamp};
pub use rgb::RgbImage;
pub use rounding::Rounding;
