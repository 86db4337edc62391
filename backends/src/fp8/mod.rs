//! FP8 weights: the codes, and linear layers that read them where they lie.

mod codec;
#[cfg(feature = "flex")]
mod decode;
#[cfg(feature = "flex")]
mod flex;
#[cfg(all(feature = "flex", target_arch = "x86_64"))]
mod narrow;
mod ops;
pub(crate) mod portable;
pub(crate) mod rounding;

pub use codec::{Fp8Format, WeightFormat};
pub use ops::{Activation, Arithmetic, Epilogue, Fp8Ops, RoundedRows};
