//! The size and the steps of an image where nobody asks for others.

use model::family::QWEN_IMAGE;
use serde_json::Value;

use super::Models;
use crate::error::Error;
use crate::request::{ImageSize, MAX_SIDE, SIDE_MULTIPLE, STEPS};

impl Models {
    /// Width and height: the user's, and the model's where the user gives none.
    ///
    /// # Errors
    /// A `default_size` that no image can have.
    pub fn size(&self, wanted: ImageSize) -> Result<(u32, u32), Error> {
        if let (Some(width), Some(height)) = (wanted.width, wanted.height) {
            return Ok((width, height));
        }
        let (width, height) = self.default_size()?;
        Ok((
            wanted.width.unwrap_or(width),
            wanted.height.unwrap_or(height),
        ))
    }

    /// Width and height where the user gives none: `default_size` of the transformer's config (a
    /// number, or width and height), or the published model's.
    ///
    /// # Errors
    /// A `default_size` that no image can have.
    fn default_size(&self) -> Result<(u32, u32), Error> {
        let weights = &self.transformer.weights;
        let Some(value) = weights
            .config()
            .and_then(|config| config.get("default_size"))
        else {
            let size = QWEN_IMAGE.default_size();
            return Ok((size.width, size.height));
        };
        read_size(value).ok_or_else(|| {
            Error::ModelFile(format!(
                "{}: default_size in its config must be a multiple of {SIDE_MULTIPLE} up to \
                 {MAX_SIDE}, or two of them",
                weights.source().display()
            ))
        })
    }

    /// Steps where the user gives none: `default_steps` of the transformer's config, or the
    /// published model's; those of the Lightning LoRA before all.
    ///
    /// # Errors
    /// A `default_steps` that no schedule has.
    pub fn default_steps(&self) -> Result<usize, Error> {
        if let Some(steps) = self.lightning {
            return Ok(steps);
        }
        let weights = &self.transformer.weights;
        let config = weights.config();
        let Some(value) = config.and_then(|config| config.get("default_steps")) else {
            return Ok(QWEN_IMAGE.steps);
        };
        let steps = value.as_u64().and_then(|steps| usize::try_from(steps).ok());
        steps.filter(|steps| STEPS.contains(steps)).ok_or_else(|| {
            Error::ModelFile(format!(
                "{}: default_steps in its config must be from {} to {}",
                weights.source().display(),
                STEPS.start(),
                STEPS.end()
            ))
        })
    }
}

/// A side, or `[width, height]`.
fn read_size(value: &Value) -> Option<(u32, u32)> {
    let side = |value: &Value| {
        let side = u32::try_from(value.as_u64()?).ok()?;
        let fits = (SIDE_MULTIPLE..=MAX_SIDE).contains(&side) && side.is_multiple_of(SIDE_MULTIPLE);
        fits.then_some(side)
    };
    match value.as_array().map(Vec::as_slice) {
        None => side(value).map(|side| (side, side)),
        Some([width, height]) => Some((side(width)?, side(height)?)),
        Some(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::read_size;

    #[test]
    fn default_sizes_are_one_side_or_two() {
        assert_eq!(read_size(&json!(96)), Some((96, 96)));
        assert_eq!(read_size(&json!([96, 64])), Some((96, 64)));
        for bad in [
            json!(0),
            json!(95),
            json!(-16),
            json!("96"),
            json!([96]),
            json!(1_u64 << 40),
        ] {
            assert_eq!(read_size(&bad), None, "{bad}");
        }
    }
}
