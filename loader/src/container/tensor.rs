//! A tensor of a file, before it is read.

use std::ops::Range;

use crate::element::ElementType;

/// One tensor of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorEntry {
    /// Its name in the file, prefix included.
    pub key: String,
    /// Type of its elements.
    pub dtype: ElementType,
    /// Its dimensions, outermost first; empty for a scalar.
    pub shape: Vec<usize>,
    /// Its bytes, from the start of the file.
    pub range: Range<u64>,
}

impl TensorEntry {
    /// Number of bytes.
    pub fn bytes(&self) -> u64 {
        self.range.end - self.range.start
    }

    /// Number of elements.
    pub fn elements(&self) -> usize {
        self.shape.iter().product()
    }
}
