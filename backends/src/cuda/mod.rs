//! NVIDIA GPUs: kernels of our own and cuBLASLt's matrix products, beside Burn's operations.
//!
//! Burn's CUDA backend keeps its streams to itself, so ours run on a stream of their own, ordered
//! before and after Burn's work on the device, without the host waiting (see [`engine`]). Device
//! memory is Burn's throughout.

mod attention;
mod attention_quantized;
mod blas;
mod cache;
mod compile;
mod concatenate;
mod conv;
mod engine;
mod fork;
mod fused;
mod layer_norm;
mod linear;
mod ops;
mod order;
pub(crate) mod probe;
mod rotate;
mod round;
mod rounded;
mod scratch;
mod streams;
mod tensor;

pub(crate) use engine::{in_exact_memory, near, prepare};
