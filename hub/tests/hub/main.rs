//! Downloads from a Hub on this machine.
#![allow(clippy::unwrap_used)]

mod downloads;
mod refusals;
mod server;
mod tree;
