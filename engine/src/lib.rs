//! Qwen-Image as an application core, for a command line, a server or a test.

pub mod bytes;
mod error;
pub mod image;
pub mod record;
pub mod request;

pub use error::{Error, one_line};
