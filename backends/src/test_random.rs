//! Random numbers that are the same at each run of a test, whatever runs beside it: a test on
//! other numbers each time fails now and then.

use std::cell::Cell;

use burn::tensor::{Tensor, TensorData};
use burn_flex::Flex;

thread_local! {
    /// Each test has a thread of its own, and so a sequence of its own.
    static STATE: Cell<u64> = const { Cell::new(0) };
}

/// Numbers of about the normal distribution with mean 0 and deviation 1.
pub(crate) fn random<const D: usize>(shape: [usize; D]) -> Tensor<Flex, D> {
    let values = (0..shape.iter().product()).map(|_| normal()).collect();
    Tensor::from_data(TensorData::new(values, shape), &Default::default())
}

/// The sum of twelve uniform numbers has a variance of 1.
fn normal() -> f32 {
    (0..12).map(|_| uniform()).sum::<f32>() - 6.0
}

/// A number from 0 to 1 (SplitMix64: Steele, Lea, Flood, "Fast splittable pseudorandom number
/// generators", 2014).
fn uniform() -> f32 {
    let state = STATE.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
    STATE.set(state);
    let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((mixed ^ (mixed >> 31)) >> 40) as f32 / (1 << 24) as f32
}
