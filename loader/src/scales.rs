//! The scales of FP8 weights: one number each, or one for each row, and read with the headers.

use std::collections::BTreeMap;

use crate::checkpoint::Checkpoint;
use crate::convert::to_f32;
use crate::dialect::DialectError;
use crate::error::LoadError;
use crate::source::Source;
use crate::text::Excerpt;

/// The scales of a checkpoint, by entry.
#[derive(Clone, Debug, Default)]
pub(crate) struct Scales(BTreeMap<usize, Vec<f32>>);

/// The scale of a weight that has none.
const NONE: [f32; 1] = [1.0];

impl Scales {
    /// Reads these entries of a checkpoint, so that a bad scale is found before anything is loaded.
    ///
    /// # Errors
    /// [`LoadError::Dialect`] for values that are no positive numbers; a file that cannot be read.
    pub(crate) fn read(
        checkpoint: &Checkpoint,
        entries: impl Iterator<Item = usize>,
    ) -> Result<Self, LoadError> {
        let mut entries = entries.peekable();
        if entries.peek().is_none() {
            return Ok(Self::default());
        }
        let source = Source::open(checkpoint.files())?;
        let scales = entries.map(|entry| Ok((entry, values(checkpoint, &source, entry)?)));
        scales.collect::<Result<_, _>>().map(Self)
    }

    /// The values of a scale, one for the tensor or one for each row; 1 where there is none.
    pub(crate) fn values(&self, entry: Option<usize>) -> &[f32] {
        let values = entry.and_then(|entry| self.0.get(&entry));
        values.map_or(&NONE, Vec::as_slice)
    }
}

fn values(checkpoint: &Checkpoint, source: &Source, index: usize) -> Result<Vec<f32>, LoadError> {
    let entry = &checkpoint.entries()[index];
    let key = Excerpt::new(&entry.tensor.key);
    let fault = |fault| LoadError::Dialect {
        file: checkpoint.source().into(),
        fault,
    };
    let bytes = source.read(entry)?;
    let Some(values) = to_f32(entry.tensor.dtype, &bytes) else {
        let dtype = entry.tensor.dtype;
        return Err(fault(DialectError::ScaleDtype { key, dtype }));
    };
    let bad = |value: &&f32| !(value.is_finite() && **value > 0.0);
    match values.iter().find(bad) {
        Some(&value) => Err(fault(DialectError::ScaleValue { key, value })),
        None => Ok(values),
    }
}
