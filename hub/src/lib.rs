//! The published model files of Qwen-Image, from the Hugging Face Hub or a mirror of it into a
//! ComfyUI `models` tree.
//!
//! The Hub tells what a repository holds, and the size and digest of each file, before a byte is
//! fetched. A file is written beside its place, resumed where an earlier download was cut, and
//! renamed once its digest is right; a file that the Hub's own cache holds is linked.
//!
//! A download takes three calls: [`plan`] asks the Hub, [`verify`] (if wanted) reads the files that
//! are there already, and [`fetch`] brings each missing file to its place:
//!
//! ```no_run
//! use std::ops::ControlFlow;
//! use std::path::Path;
//!
//! use hub::{Config, Hub, Variant};
//!
//! # fn main() -> Result<(), hub::Error> {
//! let models = Path::new("models");
//! let hub = Hub::new(Config::default())?;
//! let planned = hub::plan(&hub, Variant::Fp8, models, &mut |_| ControlFlow::Continue(()))?;
//! for file in &planned {
//!     hub::fetch(&hub, file, &mut |done| {
//!         println!("{}: {done} of {} bytes", file.source.name(), file.entry.size);
//!         ControlFlow::Continue(())
//!     })?;
//! }
//! # Ok(())
//! # }
//! ```
//!
//! The crate reads no environment variable and prints nothing: [`Config`] holds what a program
//! knows of the user's Hub, and callbacks tell of progress.

pub mod cache;
mod catalogue;
mod client;
mod digest;
mod error;
mod fetch;

mod listing;
mod offline;
mod partial;
mod plan;
mod verify;

pub use catalogue::{REPOSITORIES, Source, TRANSFORMER_FOLDER, Variant};
pub use client::{Config, ENDPOINT, Hub, Token, shown};
pub use digest::Digest;
pub use error::Error;
pub use fetch::{Watch, fetch};
pub use listing::{Entry, Listing};
pub use offline::Known;
pub use plan::{Asked, Planned, State, plan};
pub use verify::verify;
