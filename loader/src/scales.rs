//! The scales of FP8 weights: one number each, and read with the headers.

use std::collections::BTreeMap;

use crate::checkpoint::Checkpoint;
use crate::convert::to_f32;
use crate::dialect::DialectError;
use crate::error::LoadError;
use crate::source::Source;
use crate::text::Excerpt;

/// The scales of a checkpoint, by entry.
#[derive(Clone, Debug, Default)]
pub(crate) struct Scales(BTreeMap<usize, f32>);

impl Scales {
    /// Reads these entries of a checkpoint, so that a bad scale is found before anything is loaded.
    ///
    /// # Errors
    /// [`LoadError::Dialect`] for one that is no positive number; a file that cannot be read.
    pub(crate) fn read(
        checkpoint: &Checkpoint,
        entries: impl Iterator<Item = usize>,
    ) -> Result<Self, LoadError> {
        let mut entries = entries.peekable();
        if entries.peek().is_none() {
            return Ok(Self::default());
        }
        let source = Source::open(checkpoint.files())?;
        let scales = entries.map(|entry| Ok((entry, value(checkpoint, &source, entry)?)));
        scales.collect::<Result<_, _>>().map(Self)
    }

    /// The value of a scale; 1 where there is none.
    pub(crate) fn value(&self, entry: Option<usize>) -> f32 {
        let value = entry.and_then(|entry| self.0.get(&entry));
        value.copied().unwrap_or(1.0)
    }
}

fn value(checkpoint: &Checkpoint, source: &Source, index: usize) -> Result<f32, LoadError> {
    let entry = &checkpoint.entries()[index];
    let key = Excerpt::new(&entry.tensor.key);
    let fault = |fault| LoadError::Dialect {
        file: checkpoint.source().into(),
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
