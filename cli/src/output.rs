//! The program's output: the names of images, and their previews.

pub(crate) mod file_key;
pub(crate) mod inline_image;
pub(crate) mod names;
mod pattern;
pub(crate) mod preview_file;
