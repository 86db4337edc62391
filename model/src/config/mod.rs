//! Sizes of the models: from the reference's `config.json`, from the shapes in the file, or
//! both, in which case they must agree.

mod error;
mod scheduler;
mod text_encoder;
mod transformer;
mod vae;

pub use error::ConfigError;
pub use scheduler::SchedulerConfig;
pub use text_encoder::TextEncoderConfig;
pub use transformer::TransformerConfig;
pub use vae::VaeConfig;

use serde::de::DeserializeOwned;
use serde_json::Value;

/// The shape of a tensor by its reference name, as the file stores it.
pub type Shapes<'a> = &'a dyn Fn(&str) -> Option<Vec<usize>>;

/// Dimension `axis` of tensor `name`, if the file has it.
fn dimension(shapes: Shapes, name: &str, axis: usize) -> Option<usize> {
    shapes(name)?.get(axis).copied()
}

/// How many of `name(0)`, `name(1)`, … follow each other in the file.
fn count(shapes: Shapes, name: impl Fn(usize) -> String) -> usize {
    (0..).take_while(|&i| shapes(&name(i)).is_some()).count()
}

/// The fields that a config names.
pub(crate) fn parse<T: DeserializeOwned + Default>(
    model: &'static str,
    config: Option<&Value>,
) -> Result<T, ConfigError> {
    match config {
        None => Ok(T::default()),
        Some(config) => T::deserialize(config).map_err(|error| ConfigError::Unreadable {
            model,
            reason: error.to_string(),
        }),
    }
}

/// Brings what a config says and what a file shows to one value.
fn agree<T: PartialEq + std::fmt::Debug>(
    model: &'static str,
    field: &'static str,
    configured: Option<T>,
    inferred: Option<T>,
) -> Result<T, ConfigError> {
    match (configured, inferred) {
        (Some(configured), Some(inferred)) if configured != inferred => {
            Err(ConfigError::Contradiction {
                model,
                field,
                configured: format!("{configured:?}"),
                inferred: format!("{inferred:?}"),
            })
        }
        (Some(value), _) | (None, Some(value)) => Ok(value),
        (None, None) => Err(ConfigError::Unknown { model, field }),
    }
}

/// Refuses a value that the model cannot have.
pub(crate) fn require(
    model: &'static str,
    field: &'static str,
    holds: bool,
    rule: &'static str,
) -> Result<(), ConfigError> {
    if holds {
        Ok(())
    } else {
        Err(ConfigError::Invalid { model, field, rule })
    }
}
