//! A seed where the user gives none.

use std::hash::{BuildHasher, RandomState};
use std::time::SystemTime;

/// A random seed. It has 32 bits, since the noise depends on no more of it: any two that differ
/// give different images, and there is less to type.
pub fn random_seed() -> u64 {
    // Each `RandomState` is keyed by the system's entropy.
    RandomState::new().hash_one((SystemTime::now(), std::process::id())) >> 32
}

#[cfg(test)]
mod tests {
    use super::random_seed;

    #[test]
    fn seeds_differ_and_fit_in_32_bits() {
        let (a, b) = (random_seed(), random_seed());
        assert_ne!(a, b);
        assert!(a <= u64::from(u32::MAX) && b <= u64::from(u32::MAX));
    }
}
