//! Runs the built program as a user does: flags, files, exit codes, what it writes and says.
#![cfg(feature = "flex")]
#![allow(clippy::unwrap_used)]

mod all_in_one;
mod bad_checkpoints;
mod bad_headers;
mod bad_models;
mod bad_tokenizers;
mod demo;
mod devices;
mod documentation;
mod download;
mod download_refused;
mod drawn;
mod dry_run;
mod flag_values;
mod flags;
mod folder_scheduler;
mod formats;
mod from;
mod from_others;
mod from_recipe;
#[cfg(unix)]
mod hold;
// The tests of the crate `hub` use more of it.
#[allow(dead_code)]
#[path = "../../../hub/tests/hub/server.rs"]
mod hub_server;
mod hub_user;
mod init_image;
mod init_image_files;
mod init_image_mask;
mod inspect;
mod interrupt;
#[cfg(unix)]
mod killed;
mod library;
mod lora;
mod lora_files;
mod lora_prompts;
mod make_fixture;
#[cfg(target_os = "linux")]
mod mapped_file;
mod mask_crop;
mod modulation_cache;
mod outputs;
mod overwriting;
mod plan;
mod preview;
mod prompt_cache;
mod prompt_file;
mod reading;
mod records;
mod replacing;
mod resume;
mod row_scales;
mod safetensors_file;
mod sampling;
mod schedules;
mod streaming;
mod support;
#[cfg(unix)]
mod terminal;
mod usual_places;
