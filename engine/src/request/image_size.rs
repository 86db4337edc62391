//! An image's width and height.

use model::family::QWEN_IMAGE;

/// Image sides are multiples of this.
pub const SIDE_MULTIPLE: u32 = QWEN_IMAGE.side_multiple;
/// The longest side that can be asked for; beyond it lies a mistyped number.
pub const MAX_SIDE: u32 = 8192;

/// Width and height as far as they are asked for, multiples of [`SIDE_MULTIPLE`]; the model has
/// defaults for the rest.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ImageSize {
    /// Pixels across.
    pub width: Option<u32>,
    /// Pixels down.
    pub height: Option<u32>,
}
