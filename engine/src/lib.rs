//! Qwen-Image as an application core, for a command line, a server or a test.

pub mod bytes;
mod error;
pub mod files;
pub mod image;
pub mod kept_latents;
pub mod prompt_cache;
pub mod record;
pub mod request;
pub mod text;

pub use error::{Error, one_line};
