//! FP8 weights: the codes, and linear layers that read them where they lie.

#[cfg(any(feature = "cuda", all(test, feature = "flex")))]
pub(crate) mod by_row;
mod codec;
mod layer;
mod norm_call;
mod ops;
pub(crate) mod portable;
pub(crate) mod rounding;
mod stream_call;

pub use codec::{Fp8Format, WeightFormat};
pub use layer::{Activations, Fp8Codes, Layer, LayerWeight};
pub use norm_call::{NormCall, Output, Update};
pub use ops::{Activation, Arithmetic, Epilogue, Fp8Ops, RoundedRows};
pub use stream_call::{Chain, ChainCall, StreamCall, StreamResult};
