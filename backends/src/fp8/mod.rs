//! FP8 weights: the codes, and linear layers that read them where they lie.

mod call;
mod codec;
#[cfg(feature = "flex")]
mod decode;
#[cfg(feature = "flex")]
mod flex;
#[cfg(all(feature = "flex", target_arch = "x86_64"))]
mod narrow;
mod norm_call;
mod ops;
pub(crate) mod portable;
pub(crate) mod rounding;

pub use call::{Fp8Codes, LinearCall};
pub use codec::{Fp8Format, WeightFormat};
pub use norm_call::{NormCall, NormResult, Normed};
pub use ops::{Activation, Arithmetic, Epilogue, Fp8Ops, RoundedRows};
