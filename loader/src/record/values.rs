//! The values of parameters that become f32 on the way.

use std::borrow::Cow;

use crate::checkpoint::Entry;
use crate::convert::to_f32;
use crate::error::LoadError;
use crate::keymap::video::last_time_slice;
use crate::text::Excerpt;
use crate::weights::Weights;

/// A tensor's bytes as f32, times its scale or those of its rows, and of `slices` slices over time
/// the last.
///
/// # Errors
/// [`LoadError::UnsupportedDtype`].
pub(super) fn converted(
    weights: &Weights,
    entry: &Entry,
    bytes: &[u8],
    slices: usize,
    scales: &[f32],
) -> Result<Vec<f32>, LoadError> {
    let tensor = &entry.tensor;
    let mut kept = Cow::Borrowed(bytes);
    if slices > 1 {
        // Before they are converted: the other slices are most of a video model's weights.
        let plane: usize = tensor.shape.iter().rev().take(2).product();
        let size = bytes.len() / tensor.elements().max(1);
        kept = last_time_slice(bytes, slices, plane * size).into();
    }
    let values = to_f32(tensor.dtype, &kept);
    let mut values = values.ok_or_else(|| LoadError::UnsupportedDtype {
        file: weights.source().into(),
        key: Excerpt::new(&tensor.key),
        dtype: tensor.dtype,
    })?;
    let row = values.len() / scales.len().max(1);
    for (row, &scale) in values.chunks_mut(row.max(1)).zip(scales) {
        if scale != 1.0 {
            row.iter_mut().for_each(|value| *value *= scale);
        }
    }
    Ok(values)
}
