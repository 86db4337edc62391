//! Files that are written whole or not at all, and what tells one file from another.

pub mod atomic;
pub mod digest;
pub mod json_path;
mod target;

pub use target::{DIGEST_PLACE, Existing, Target, with_suffix};
