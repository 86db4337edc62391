//! The noise schedule's constants.

use super::{ConfigError, require};
use crate::family::QWEN_IMAGE;

/// The model's name in errors.
pub(super) const MODEL: &str = "scheduler";

/// Constants of the flow-matching schedule, by the names of diffusers'
/// `FlowMatchEulerDiscreteScheduler`; the default is Qwen-Image's own.
#[derive(Clone, Debug, PartialEq)]
pub struct SchedulerConfig {
    /// The logarithm of the shift at `base_image_seq_len` tokens, or the shift itself
    /// ([`TimeShift`]).
    pub base_shift: f64,
    /// The same at `max_image_seq_len` tokens.
    pub max_shift: f64,
    /// Image tokens.
    pub base_image_seq_len: f64,
    /// Image tokens.
    pub max_image_seq_len: f64,
    /// The last noise level before 0, to which the schedule is stretched; `None` leaves it as it
    /// is.
    pub shift_terminal: Option<f64>,
    /// True if the shift depends on the size of the image.
    pub use_dynamic_shifting: bool,
    /// The shift where it does not.
    pub shift: f64,
    /// The way from the numbers above to the dynamic shift.
    pub time_shift_type: TimeShift,
}

/// The way from a number between `base_shift` and `max_shift` to the factor of the dynamic shift.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TimeShift {
    /// The factor is the number's exponential.
    #[default]
    Exponential,
    /// The factor is the number itself.
    Linear,
}

impl Default for SchedulerConfig {
    fn default() -> Self {
        QWEN_IMAGE.scheduler
    }
}

impl SchedulerConfig {
    /// The constants for the [Lightning](crate::family::Lightning) adapters, which were distilled
    /// at one shift for images of every size: the schedule of their authors' example.
    pub fn lightning() -> Self {
        let shift = QWEN_IMAGE.lightning.shift.ln();
        Self {
            base_shift: shift,
            max_shift: shift,
            shift_terminal: None,
            ..Self::default()
        }
    }

    /// Checks what a file may say.
    ///
    /// # Errors
    /// [`ConfigError::Invalid`] for numbers that make no schedule.
    pub(super) fn check(self) -> Result<Self, ConfigError> {
        let require = |field, holds, rule| require(MODEL, field, holds, rule);
        if self.use_dynamic_shifting {
            require(
                "max_image_seq_len",
                self.max_image_seq_len > self.base_image_seq_len,
                "must be greater than base_image_seq_len",
            )?;
            let finite = self.base_shift.is_finite() && self.max_shift.is_finite();
            require("max_shift", finite, "must be a number, as base_shift")?;
        }
        let terminal = self.shift_terminal;
        require(
            "shift_terminal",
            terminal.is_none_or(|terminal| (0.0..1.0).contains(&terminal)),
            "must lie between 0 and 1",
        )?;
        let positive = self.shift > 0.0 && self.shift.is_finite();
        require("shift", positive, "must be positive")?;
        Ok(self)
    }
}
