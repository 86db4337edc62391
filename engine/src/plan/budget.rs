//! How much device memory this process may still take.

use backends::DeviceMemory;
use serde::Serialize;

/// Bytes that the driver's context, compiled kernels and the allocator's rounding may take beside
/// tensors.
pub const RUNTIME_ALLOWANCE: u64 = 640 << 20;

/// Device memory that this process may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Budget {
    /// The most that may be used.
    pub limit: Option<u64>,
    /// Bytes that others used when this process began.
    pub used_before: u64,
}

/// The rest of a budget.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// Bytes that can still be taken.
    pub available: u64,
    /// True if the limit binds, and not what the driver has free.
    pub limited: bool,
}

impl Budget {
    /// The budget of a process that begins now.
    ///
    /// To ask the driver takes a context, which is this process's own: so much of what is in use
    /// counts as its own as a context may take.
    pub fn new(limit: Option<u64>, now: Option<DeviceMemory>) -> Self {
        let used = now.map_or(0, |memory| memory.used());
        Self {
            limit,
            used_before: used.saturating_sub(RUNTIME_ALLOWANCE),
        }
    }

    /// Returns the bytes that this process holds, its context included: those in use beyond what
    /// others used before.
    pub fn held(self, memory: DeviceMemory) -> u64 {
        memory.used().saturating_sub(self.used_before)
    }

    /// Returns the bytes that may still be taken.
    pub fn room(self, memory: DeviceMemory) -> Room {
        let allowed = self
            .limit
            .map(|limit| limit.saturating_sub(self.held(memory)));
        match allowed {
            Some(allowed) if allowed < memory.free => Room {
                available: allowed,
                limited: true,
            },
            _ => Room {
                available: memory.free,
                limited: false,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use backends::DeviceMemory;

    use super::{Budget, RUNTIME_ALLOWANCE, Room};

    const GB: u64 = 1_000_000_000;

    fn room(limit: Option<u64>, free: u64) -> Room {
        let budget = Budget {
            limit,
            used_before: 2 * GB,
        };
        budget.room(DeviceMemory {
            free,
            total: 24 * GB,
        })
    }

    #[test]
    fn the_context_counts_as_this_process_own() {
        let memory = |used| DeviceMemory {
            free: 24 * GB - used,
            total: 24 * GB,
        };
        let budget = |used| Budget::new(Some(8 * GB), Some(memory(used)));
        // A context of 600 MB alone, and beside 3 GB of other programs.
        let alone = budget(GB * 6 / 10);
        assert_eq!(alone.held(memory(GB * 6 / 10)), GB * 6 / 10);
        let beside = budget(GB * 36 / 10);
        assert_eq!(beside.held(memory(GB * 36 / 10)), RUNTIME_ALLOWANCE);
    }

    fn of(available: u64, limited: bool) -> Room {
        Room { available, limited }
    }

    #[test]
    fn free_memory_binds_without_a_limit_or_below_it() {
        assert_eq!(room(None, 22 * GB), of(22 * GB, false));
        assert_eq!(room(Some(30 * GB), 22 * GB), of(22 * GB, false));
        assert_eq!(room(Some(30 * GB), 0), of(0, false));
    }

    #[test]
    fn the_limit_counts_what_this_process_already_uses() {
        assert_eq!(room(Some(10 * GB), 22 * GB), of(10 * GB, true));
        // Four of the limit's ten are in use by this process already.
        assert_eq!(room(Some(10 * GB), 18 * GB), of(6 * GB, true));
        assert_eq!(room(Some(3 * GB), 18 * GB), of(0, true));
    }

    #[test]
    fn memory_that_others_give_back_is_not_ours() {
        assert_eq!(room(Some(10 * GB), 23 * GB), of(10 * GB, true));
    }
}
