//! Checkpoints on disk: what is refused and with which words, what is found, and what a module
//! holds in the end.
#![allow(clippy::unwrap_used)]

mod components;
mod dialects;
mod fixtures;
mod folders;
mod lora;
mod lora_folder;
mod lora_settings;
mod real_headers;
mod shards;
mod single_files;
mod writer;

#[cfg(feature = "flex")]
mod deferring;
#[cfg(feature = "flex")]
mod loading;
#[cfg(feature = "flex")]
mod mapping;
#[cfg(feature = "flex")]
mod modules;
#[cfg(feature = "flex")]
mod other_components;
#[cfg(feature = "flex")]
mod reading;
#[cfg(feature = "flex")]
mod rows;
#[cfg(feature = "flex")]
mod streaming;
