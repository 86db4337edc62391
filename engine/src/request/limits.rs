//! The ranges of numbers that a request can have.

use std::ops::RangeInclusive;

/// Denoising steps that can be asked for.
pub const STEPS: RangeInclusive<usize> = 1..=1000;
/// The largest weight of a LoRA, and the negative of the smallest.
pub const MAX_LORA_WEIGHT: f64 = 100.0;
