//! Leaks: a model that was dropped has given its memory back, or has not.

use crate::plan::RUNTIME_ALLOWANCE;

/// Bytes that the allocator may keep of any model.
const SLACK: u64 = 256 << 20;

/// Bytes that are in use after a model was dropped and were not before it was loaded, if they are
/// too many to be the driver's context, kernels compiled meanwhile, and what the allocator keeps:
/// 256 MiB or a twentieth of the model.
pub(super) fn leaked(used_before_load: u64, used_after_drop: u64, model_bytes: u64) -> Option<u64> {
    let held = used_after_drop.saturating_sub(used_before_load);
    let allowed = RUNTIME_ALLOWANCE + SLACK.max(model_bytes / 20);
    (held > allowed).then_some(held)
}

#[cfg(test)]
mod tests {
    use super::{RUNTIME_ALLOWANCE, SLACK, leaked};

    const GIB: u64 = 1 << 30;

    #[test]
    fn a_model_that_stays_is_a_leak() {
        assert_eq!(leaked(GIB, 20 * GIB, 19 * GIB), Some(19 * GIB));
        // Half of it as well.
        assert_eq!(leaked(GIB, 10 * GIB, 19 * GIB), Some(9 * GIB));
    }

    #[test]
    fn a_context_and_kernels_are_none() {
        assert_eq!(leaked(0, GIB / 2, 19 * GIB), None);
        assert_eq!(leaked(2 * GIB, 2 * GIB, 19 * GIB), None);
        // Others gave memory back meanwhile.
        assert_eq!(leaked(5 * GIB, GIB, 19 * GIB), None);
    }

    #[test]
    fn what_the_allocator_may_keep_grows_with_the_model() {
        let allowed = |model| {
            let least = (0..4 * GIB / 1024).find(|held| leaked(0, held * 1024, model).is_some());
            least.map(|held| held * 1024)
        };
        let small = allowed(GIB / 4);
        assert_eq!(small, Some(RUNTIME_ALLOWANCE + SLACK + 1024));
        assert_eq!(allowed(4 * GIB), small);
        assert_eq!(allowed(40 * GIB), Some(RUNTIME_ALLOWANCE + 2 * GIB + 1024));
    }
}
