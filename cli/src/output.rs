//! What the program writes: images, traces and reports, each whole or not at all.

pub(crate) mod atomic_file;
mod exif;
pub(crate) mod file_key;
pub(crate) mod foreign;
pub(crate) mod format;
pub(crate) mod image;
pub(crate) mod inline_image;
pub(crate) mod json_path;
pub(crate) mod metadata;
pub(crate) mod names;
pub(crate) mod parameters;
pub(crate) mod pattern;
mod png_texts;
pub(crate) mod preview_file;
pub(crate) mod recipe;
pub(crate) mod recorded;
pub(crate) mod report;
pub(crate) mod texts;
pub(crate) mod trace;
