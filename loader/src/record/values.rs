//! The values that are computed on the way: scales, and parameters that become f32.

use std::collections::BTreeMap;

use crate::checkpoint::Entry;
use crate::convert::{last_tap, to_f32};
use crate::dialect::DialectError;
use crate::error::LoadError;
use crate::source::Source;
use crate::text::Excerpt;
use crate::weights::Weights;

/// The scales of a checkpoint, by entry.
pub(super) struct Scales(BTreeMap<usize, f32>);

impl Scales {
    /// Reads all scales, so that a bad one is found before anything is loaded.
    ///
    /// # Errors
    /// [`LoadError::Dialect`] for one that is no positive number; a file that cannot be read.
    pub(super) fn read(weights: &Weights, source: &Source) -> Result<Self, LoadError> {
        let mut scales = BTreeMap::new();
        for parameter in weights.parameters().values() {
            if let Some(scale) = parameter.scale {
                scales.insert(scale, scale_value(weights, source, scale)?);
            }
        }
        Ok(Self(scales))
    }

    /// The value of a scale; 1 where there is none.
    pub(super) fn value(&self, entry: Option<usize>) -> f32 {
        let value = entry.and_then(|entry| self.0.get(&entry));
        value.copied().unwrap_or(1.0)
    }
}

fn scale_value(weights: &Weights, source: &Source, index: usize) -> Result<f32, LoadError> {
    let entry = weights.entry(index);
    let key = Excerpt::new(&entry.tensor.key);
    let fault = |fault| LoadError::Dialect {
        file: weights.source().into(),
        fault,
    };
    let bytes = source.read(entry)?;
    let values = to_f32(entry.tensor.dtype, &bytes);
    let Some([value]) = values.as_deref() else {
        let dtype = entry.tensor.dtype;
        return Err(fault(DialectError::ScaleDtype { key, dtype }));
    };
    if value.is_finite() && *value > 0.0 {
        Ok(*value)
    } else {
        let value = *value;
        Err(fault(DialectError::ScaleValue { key, value }))
    }
}

/// A tensor's bytes as f32, times `scale`, and of `taps` slices over time the last.
///
/// # Errors
/// [`LoadError::UnsupportedDtype`].
pub(super) fn converted(
    weights: &Weights,
    entry: &Entry,
    bytes: &[u8],
    taps: usize,
    scale: f32,
) -> Result<Vec<f32>, LoadError> {
    let tensor = &entry.tensor;
    let values = to_f32(tensor.dtype, bytes);
    let mut values = values.ok_or_else(|| LoadError::UnsupportedDtype {
        file: weights.source().into(),
        key: Excerpt::new(&tensor.key),
        dtype: tensor.dtype,
    })?;
    if taps > 1 {
        let plane = tensor.shape.iter().rev().take(2).product();
        values = last_tap(&values, taps, plane);
    }
    if scale != 1.0 {
        values.iter_mut().for_each(|value| *value *= scale);
    }
    Ok(values)
}
