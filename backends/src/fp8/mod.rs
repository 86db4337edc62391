//! FP8 weights: the codes, and linear layers that read them where they lie.

mod activations;
mod arithmetic;
mod attention;
#[cfg(any(feature = "cuda", all(test, feature = "flex")))]
pub(crate) mod by_row;
mod codec;
mod layer_norm;
pub(crate) mod linear;
pub(crate) mod portable;
mod quantize;

pub use arithmetic::Arithmetic;
pub use attention::normed_joint_attention;
pub use codec::{Fp8Format, WeightFormat};
pub use layer_norm::{layer_norm, modulated_layer_norm};
