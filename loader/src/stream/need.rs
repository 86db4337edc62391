//! What a stream brings, and where to.

use std::ops::Range;

use backends::upload::MemoryId;

/// Bytes of a file that are needed somewhere. The needs of one stream do not overlap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Need {
    /// Which file.
    pub(crate) file: usize,
    /// Which bytes of it.
    pub(crate) range: Range<u64>,
    /// Where they go.
    pub(crate) destination: Destination,
}

/// The destination of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Destination {
    /// To the device as they are.
    Device(MemoryId),
    /// To the caller, by a number of its own.
    Host(usize),
}
