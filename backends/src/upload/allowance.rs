//! How much device memory a sink may take before it asks the driver again.

use super::UploadError;

/// Device memory that stays free beside the tensors: kernels and the driver's own needs.
const RESERVE: u64 = 64 << 20;

/// Drivers give memory in pieces of this size.
const GRANULE: u64 = 2 << 20;

/// Free memory of a device, as the driver told it last, less what was taken since.
///
/// A driver takes a fraction of a millisecond to answer, and a checkpoint has a thousand tensors.
#[derive(Debug, Default)]
pub(crate) struct Allowance {
    left: u64,
}

impl Allowance {
    /// Takes `bytes`, and calls `free` for the device's free bytes where the last answer does not
    /// cover them. Nothing is refused where the driver does not tell.
    ///
    /// # Errors
    /// [`UploadError::OutOfMemory`] with the driver's newest figure.
    pub(crate) fn take(
        &mut self,
        bytes: u64,
        free: impl FnOnce() -> Option<u64>,
    ) -> Result<(), UploadError> {
        let taken = bytes.max(1).next_multiple_of(GRANULE);
        if let Some(left) = self.left.checked_sub(taken) {
            self.left = left;
            return Ok(());
        }
        let Some(free) = free() else { return Ok(()) };
        if free < bytes + RESERVE {
            return Err(UploadError::OutOfMemory {
                needed: bytes,
                free,
            });
        }
        // Half of it: other programs take memory too, and the nearer the end, the more often the
        // driver is asked.
        self.left = ((free - RESERVE) / 2).saturating_sub(taken);
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// A driver with so much free memory, which counts how often it is asked.
    struct Driver {
        free: u64,
        asked: usize,
    }

    impl Driver {
        fn allocate(&mut self, allowance: &mut Allowance, bytes: u64) -> Result<(), UploadError> {
            allowance.take(bytes, || {
                self.asked += 1;
                Some(self.free)
            })?;
            self.free -= bytes.next_multiple_of(GRANULE);
            Ok(())
        }
    }

    #[test]
    fn a_driver_with_much_memory_is_asked_once() {
        let mut driver = Driver {
            free: 80 << 30,
            asked: 0,
        };
        let mut allowance = Allowance::default();
        for _ in 0..800 {
            driver.allocate(&mut allowance, 24 << 20).unwrap();
        }
        assert_eq!(driver.asked, 1);
    }

    #[test]
    fn a_full_device_is_noticed_to_the_byte() {
        let mut driver = Driver {
            free: 4 << 30,
            asked: 0,
        };
        let mut allowance = Allowance::default();
        let mut tensors = 0;
        let error = loop {
            match driver.allocate(&mut allowance, 20 << 20) {
                Ok(()) => tensors += 1,
                Err(error) => break error,
            }
        };
        assert_eq!(tensors, ((4 << 30) - RESERVE) / (20 << 20));
        let free = (4 << 30) - tensors * (20 << 20);
        assert_eq!(
            error,
            UploadError::OutOfMemory {
                needed: 20 << 20,
                free
            }
        );
        assert!(driver.asked < 20, "{} times", driver.asked);
    }

    #[test]
    fn memory_that_another_program_took_is_missed_when_the_driver_is_asked_again() {
        let mut driver = Driver {
            free: 8 << 30,
            asked: 0,
        };
        let mut allowance = Allowance::default();
        driver.allocate(&mut allowance, 1 << 30).unwrap();
        driver.free = 1 << 30;
        driver.allocate(&mut allowance, 1 << 29).unwrap();
        assert!(driver.allocate(&mut allowance, 4 << 30).is_err());
    }

    #[test]
    fn a_driver_that_tells_nothing_refuses_nothing() {
        let mut allowance = Allowance::default();
        assert_eq!(allowance.take(u64::MAX >> 1, || None), Ok(()));
    }
}
