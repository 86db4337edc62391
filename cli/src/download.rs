//! Fetches the published model files from the Hugging Face Hub, or a mirror of it, into a ComfyUI
//! `models` tree.
//!
//! What a repository holds, how large each file is and which digest it has is asked of the Hub
//! before a byte is fetched. A file is written beside its place, resumed where it was cut, and
//! renamed once its digest is right; one that the Hub's own cache holds is linked.

mod cache;
mod catalogue;
mod digest;
mod error;
mod fetch;
mod hub;
mod listing;
mod offline;
mod partial;
mod state;
mod verify;

pub(crate) use cache::folder_of as repository_in_cache;
pub(crate) use catalogue::{REPOSITORIES, TRANSFORMER_FOLDER, Variant};
pub(crate) use error::DownloadError;
pub(crate) use fetch::fetch;
pub(crate) use hub::{Hub, shown};
pub(crate) use listing::Listing;
pub(crate) use offline::Known;
pub(crate) use state::{Planned, State};
pub(crate) use verify::verify;
