//! FP8: its codes, activations that are quantized to it, and the operations that give or take such
//! activations.

mod activations;
mod arithmetic;
mod attention;
mod codec;
mod layer_norm;
pub(crate) mod quantize;

pub use arithmetic::Arithmetic;
pub use attention::normed_joint_attention;
pub use codec::Fp8Format;
pub use layer_norm::{layer_norm, modulated_layer_norm};
