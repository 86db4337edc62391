//! Weights that a load leaves out, to be streamed later.

use std::ops::Range;

use burn::module::ParamId;
use burn::tensor::DType;

use super::schedule::{Action, Item};
use crate::weights::Weights;

/// The weights that a load left out: the module has no memory for them.
#[derive(Clone, Debug, Default)]
pub struct Deferred {
    pub(crate) weights: Vec<DeferredWeight>,
}

/// A rank-2 weight that a load left out.
#[derive(Clone, Debug)]
pub struct DeferredWeight {
    /// The canonical name of its tensor.
    pub name: String,
    /// The id of the module's parameter.
    pub id: ParamId,
    /// The shape `[out, in]`.
    pub shape: Vec<usize>,
    /// The elements.
    pub stored_as: StoredAs,
    /// Index into [`Checkpoint::files`](crate::Checkpoint::files) of the file that holds it.
    pub file: usize,
    /// Its bytes in that file; the device holds the same.
    pub range: Range<u64>,
}

impl DeferredWeight {
    /// Number of its bytes, in the file and on the device.
    pub fn bytes(&self) -> u64 {
        self.range.end - self.range.start
    }
}

/// The elements of a weight that goes to the device as it is in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoredAs {
    /// FP8 codes, as U8.
    Codes,
    /// Floats of this type.
    Floats(DType),
}

impl Deferred {
    /// Separates the items that `defer` picks, where they can be left out, from the others.
    pub(super) fn split(
        items: Vec<Item>,
        weights: &Weights,
        defer: &dyn Fn(&str) -> bool,
    ) -> (Self, Vec<Item>) {
        let mut deferred = Self::default();
        let mut others = Vec::with_capacity(items.len());
        for item in items {
            let stored = match item.action {
                Action::Codes { entry } => Some((entry, StoredAs::Codes)),
                Action::Keep { entry, dtype } => Some((entry, StoredAs::Floats(dtype))),
                Action::Scale { .. } | Action::Convert { .. } => None,
            };
            let Some((entry, stored_as)) = stored.filter(|_| defer(&item.name)) else {
                others.push(item);
                continue;
            };
            let entry = weights.entry(entry);
            deferred.weights.push(DeferredWeight {
                name: item.name,
                id: item.id,
                shape: item.shape,
                stored_as,
                file: entry.file,
                range: entry.tensor.range.clone(),
            });
        }
        (deferred, others)
    }

    /// The weights, in the order of the files' bytes.
    pub fn weights(&self) -> &[DeferredWeight] {
        &self.weights
    }
}
