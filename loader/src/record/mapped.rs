//! Weights on a backend in host memory: the mapping of the file is the storage.

use backends::storage::ModelBackend;
use burn::tensor::{AllocationProperty, Bytes, DType, TensorData};

use super::Loaded;
use super::schedule::{Action, Item};
use crate::error::LoadError;
use crate::progress::Progress;
use crate::source::Source;
use crate::stream::Follow;
use crate::weights::Weights;

/// Tells whether an item's bytes in the file can be a tensor as they lie there. Files align their
/// data to 8 bytes at best, and old ones not at all.
pub(super) fn can_be_mapped(weights: &Weights, item: &Item) -> bool {
    let aligned = |entry, size| {
        let start = weights.entry(entry).tensor.range.start;
        start.is_multiple_of(size as u64)
    };
    match item.action {
        Action::Codes { .. } => true,
        Action::Keep { entry, dtype } => aligned(entry, dtype.size()),
        Action::Scale { .. } | Action::Convert { .. } => false,
    }
}

/// Makes a parameter of each item that [can be mapped](can_be_mapped); passes over the others.
///
/// # Errors
/// A file that cannot be mapped; [`LoadError::Cancelled`].
pub(super) fn load<B: ModelBackend>(
    weights: &Weights,
    source: &Source,
    items: &[Item],
    device: &B::Device,
    progress: &mut Progress<'_>,
) -> Result<Vec<Loaded<B>>, LoadError> {
    let mut loaded = Vec::with_capacity(items.len());
    for item in items {
        let (entry, dtype) = match item.action {
            Action::Codes { entry } => (entry, DType::U8),
            Action::Keep { entry, dtype } => (entry, dtype),
            Action::Scale { .. } | Action::Convert { .. } => continue,
        };
        let entry = weights.entry(entry);
        let bytes = Bytes::from_shared(source.map(entry)?, AllocationProperty::File);
        let data = TensorData::from_bytes(bytes, item.shape.clone(), dtype);
        loaded.push(match item.action {
            Action::Codes { .. } => Loaded::Int(B::int_from_data(data, device)),
            _ => Loaded::Float(B::float_from_data(data, device)),
        });
        progress.advance(entry.tensor.bytes())?;
    }
    Ok(loaded)
}
