//! The reference's tensors, and how close ours must come.
//!
//! The fixtures were made by diffusers and transformers in float32; `reference/` holds the
//! scripts, `fixtures/cases.json` the list.

mod case;
mod models;
mod trace;

pub use case::{Case, ImageCase, cases, image_cases};
pub use models::{Models, shapes};
pub use trace::{Trace, check, fixture};

/// Relative to the largest magnitude in the reference, but at least to 1: what f32 arithmetic
/// in another order may change in one pass of the transformer.
pub const TOLERANCE: f32 = 1e-5;

/// The same as [`TOLERANCE`], for results of several steps and the VAE.
pub const FINAL_TOLERANCE: f32 = 5e-5;
