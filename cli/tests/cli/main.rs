//! Runs the built program as a user does: flags, files, exit codes, what it writes and says.
#![cfg(feature = "flex")]
#![allow(clippy::unwrap_used)]

mod bad_checkpoints;
mod bad_headers;
mod bad_tokenizers;
mod demo;
mod devices;
mod flags;
mod init_image;
mod init_image_files;
mod formats;
mod from;
mod inspect;
mod interrupt;
mod lora;
mod make_fixture;
mod outputs;
mod picture;
mod plan;
mod prompt_cache;
mod prompt_file;
mod reading;
mod records;
mod safetensors_file;
mod sampling;
mod support;
