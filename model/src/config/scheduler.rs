//! The noise schedule's constants.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{ConfigError, require};

const MODEL: &str = "scheduler";

/// The shift that the Lightning adapters were made for.
const LIGHTNING_SHIFT: f64 = 3.0;

/// Constants of the flow-matching schedule, by the names of diffusers'
/// `FlowMatchEulerDiscreteScheduler`; the default is Qwen-Image's own.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct SchedulerConfig {
    /// The logarithm of the shift at `base_image_seq_len` tokens.
    pub base_shift: f64,
    /// The logarithm of the shift at `max_image_seq_len` tokens.
    pub max_shift: f64,
    /// Image tokens.
    pub base_image_seq_len: f64,
    /// Image tokens.
    pub max_image_seq_len: f64,
    /// The last noise level before 0, or none to leave the schedule as it falls.
    pub shift_terminal: Option<f64>,
    /// Whether the shift depends on the size of the image.
    pub use_dynamic_shifting: bool,
    /// The shift where it does not.
    pub shift: f64,
    /// The shape of the dynamic shift; only `exponential` is known.
    pub time_shift_type: String,
}

impl Default for SchedulerConfig {
    fn default() -> Self {
        Self {
            base_shift: 0.5,
            max_shift: 0.9,
            base_image_seq_len: 256.0,
            max_image_seq_len: 8192.0,
            shift_terminal: Some(0.02),
            use_dynamic_shifting: true,
            shift: 1.0,
            time_shift_type: "exponential".into(),
        }
    }
}

impl SchedulerConfig {
    /// The constants for the Lightning adapters, which were distilled at a shift of 3 for images
    /// of every size: the schedule of their authors' example.
    pub fn lightning() -> Self {
        Self {
            base_shift: LIGHTNING_SHIFT.ln(),
            max_shift: LIGHTNING_SHIFT.ln(),
            shift_terminal: None,
            ..Self::default()
        }
    }

    /// The constants of a `scheduler_config.json`, or Qwen-Image's own.
    ///
    /// # Errors
    /// The JSON does not fit, or asks for a schedule that is not this one.
    pub fn resolve(config: Option<&Value>) -> Result<Self, ConfigError> {
        let scheduler: Self = super::parse(MODEL, config)?;
        require(
            MODEL,
            "time_shift_type",
            scheduler.time_shift_type == "exponential",
            "must be \"exponential\"",
        )?;
        require(
            MODEL,
            "max_image_seq_len",
            scheduler.max_image_seq_len > scheduler.base_image_seq_len,
            "must be greater than base_image_seq_len",
        )?;
        require(
            MODEL,
            "shift_terminal",
            scheduler
                .shift_terminal
                .is_none_or(|t| (0.0..1.0).contains(&t)),
            "must lie between 0 and 1",
        )?;
        require(MODEL, "shift", scheduler.shift > 0.0, "must be positive")?;
        Ok(scheduler)
    }
}
