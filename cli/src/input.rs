//! Images that a run begins with: files become pixels of the size that is drawn.

mod crop;
mod decode;
mod file;
mod init_image;
mod mask;
mod resize;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;

pub(crate) use crop::Region;
pub(crate) use init_image::{InitImage, Stamp};
