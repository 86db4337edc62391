//! Sizes of the models: from the reference's `config.json`, from the shapes in the file, or
//! both, in which case they must agree.

mod error;
mod folder_scheduler;
mod scheduler;
mod text_encoder;
mod transformer;
mod vae;

pub use error::ConfigError;
pub use folder_scheduler::FolderScheduler;
pub use scheduler::{SchedulerConfig, TimeShift};
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

/// The size that most of these tensors and axes show; of equally frequent sizes, the first. So a
/// tensor that is missing or of the wrong shape does not decide, and is reported as just that.
fn usual_dimension(shapes: Shapes, places: &[(&str, usize)]) -> Option<usize> {
    let places = places.iter();
    usual(places.filter_map(|(name, axis)| dimension(shapes, name, *axis)))
}

/// The most frequent value; of equally frequent ones, the first.
fn usual(values: impl Iterator<Item = usize>) -> Option<usize> {
    let values: Vec<usize> = values.collect();
    let count = |value: &&usize| values.iter().filter(|other| other == value).count();
    // Of equal maxima the last is taken.
    values.iter().rev().max_by_key(count).copied()
}

/// The most items of a list that are looked for: a file may name any number.
const MAX_ITEMS: usize = 1024;

/// Counts the items `list.0`, `list.1`, … of the file, up to the last that has any of these
/// tensors. An item that lacks one of them counts too, so that the tensor is reported as missing.
fn count(shapes: Shapes, list: &str, tensors: &[&str]) -> usize {
    let has = |item: &usize| {
        let mut tensors = tensors.iter();
        tensors.any(|tensor| shapes(&format!("{list}.{item}.{tensor}")).is_some())
    };
    (0..MAX_ITEMS).rev().find(has).map_or(0, |last| last + 1)
}

/// The size that most items of a list show in a tensor's axis.
fn usual_dimension_in(
    shapes: Shapes,
    list: &str,
    items: usize,
    tensor: &str,
    axis: usize,
) -> Option<usize> {
    usual((0..items).filter_map(|item| dimension(shapes, &format!("{list}.{item}.{tensor}"), axis)))
}

/// Reads the fields that a config names.
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

/// The one value that a config and a file's shapes agree on.
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

/// Refuses a file with fewer layers than the `published` model of its width has, unless its config
/// says so: a file that was cut short would pass for a smaller model.
///
/// `what` names the layers, and `field` the config's field that counts them.
fn not_cut_short(
    model: &'static str,
    (what, field): (&'static str, &'static str),
    configured: Option<usize>,
    found: usize,
    published: Option<usize>,
) -> Result<(), ConfigError> {
    match published {
        Some(published) if configured.is_none() && found < published => {
            Err(ConfigError::CutShort {
                model,
                what,
                field,
                found,
                published,
            })
        }
        _ => Ok(()),
    }
}

/// Refuses a field of a config that asks for what is not computed here.
fn supported(
    model: &'static str,
    field: &'static str,
    value: impl ToString,
    holds: bool,
    why: &'static str,
) -> Result<(), ConfigError> {
    match holds {
        true => Ok(()),
        false => Err(ConfigError::Refused {
            model,
            field,
            value: shortened(&value.to_string()),
            why,
        }),
    }
}

/// A text of a config for an error message: on one line and no longer than one.
fn shortened(text: &str) -> String {
    const LONGEST: usize = 60;
    let shown = text.chars().take(LONGEST);
    let shown: String = shown.flat_map(char::escape_debug).collect();
    match text.chars().nth(LONGEST) {
        Some(_) => shown + "…",
        None => shown,
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
