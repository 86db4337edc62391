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
    /// Bytes that were in use when this process began.
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
    pub fn new(limit: Option<u64>, now: Option<DeviceMemory>) -> Self {
        Self {
            limit,
            used_before: now.map_or(0, |memory| memory.used()),
        }
    }

    /// Returns the bytes that this process holds: those in use beyond what was before.
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

    use super::{Budget, Room};

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
