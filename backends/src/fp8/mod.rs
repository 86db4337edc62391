//! FP8 weights: the codes, and linear layers that read them where they lie.

mod arithmetic;
mod attention;
#[cfg(any(feature = "cuda", all(test, feature = "flex")))]
pub(crate) mod by_row;
mod codec;
mod layer;
pub(crate) mod linear;
mod norm_call;
pub(crate) mod portable;
mod quantize;
mod stream_call;

pub use arithmetic::Arithmetic;
pub use attention::normed_joint_attention;
pub use codec::{Fp8Format, WeightFormat};
pub use layer::{Layer, LayerWeight};
pub use norm_call::{NormCall, Output, Update};
pub use stream_call::{Chain, ChainCall, StreamCall, StreamResult, streams};
