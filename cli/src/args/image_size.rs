//! The image's width and height, checked.

use model::family::QWEN_IMAGE;

/// Image sides are multiples of this.
pub(crate) const SIDE_MULTIPLE: u32 = QWEN_IMAGE.side_multiple;
/// The longest side taken; beyond it lies a mistyped number.
pub(crate) const MAX_SIDE: u32 = 8192;

/// Width and height as far as the user gave them, multiples of [`SIDE_MULTIPLE`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ImageSize {
    /// Pixels across.
    pub(crate) width: Option<u32>,
    /// Pixels down.
    pub(crate) height: Option<u32>,
}
