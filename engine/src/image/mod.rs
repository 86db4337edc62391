//! Pixels, their files, and what becomes of them.

mod ground;
mod rounding;

pub use ground::Ground;
pub use rounding::Rounding;
