//! Pictures that a run begins with: files become pixels of the size that is drawn.

mod decode;
mod file;
mod init_picture;
mod resize;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;

pub(crate) use init_picture::{InitPicture, Stamp};
