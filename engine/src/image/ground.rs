//! The ground behind transparent pixels.

/// The ground behind transparent pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ground {
    /// Paper, for an image.
    White,
    /// Nothing painted, for a mask.
    Black,
    /// The colours that the file has for them, as if they were opaque.
    Own,
}
