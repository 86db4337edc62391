//! The bytes that a stream brings, and their destinations.

use std::ops::Range;

use backends::upload::MemoryId;

/// Bytes of a file that are needed somewhere. The needs of one stream do not overlap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Need {
    /// Which file.
    pub(crate) file: usize,
    /// Which bytes of it.
    pub(crate) range: Range<u64>,
    /// Their destination.
    pub(crate) destination: Destination,
}

/// The destination of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Destination {
    /// The device's memory, which takes them as they are.
    Device(MemoryId),
    /// The caller, who knows the need by this number.
    Host(usize),
}
