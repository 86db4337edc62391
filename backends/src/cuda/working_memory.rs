//! The scratch memory of the kernels for NVIDIA GPUs, and what they hold beside it.

use crate::fp8::Arithmetic;
use crate::working_memory::{AttentionShape, F32, Numerics};

/// The most rows of activations for which a linear layer reads an FP8 weight once and multiplies
/// with the codes themselves, so that several rows cost little more than one.
pub const FEW_ROWS: usize = 8;

/// Scratch memory that cuBLASLt's algorithms may use on one stream, in bytes: what the library's
/// authors recommend for Hopper.
pub(crate) const WORKSPACE: usize = 32 << 20;

/// Scratch memory, in bytes, for the columns of a convolution and for the scores of heads that are
/// wider than [`WIDEST_HEAD`].
pub(crate) const COLUMNS: usize = 128 << 20;

/// The widest head whose scores stay in registers and shared memory.
pub(crate) const WIDEST_HEAD: usize = 128;

/// The result, the decoded weight and the bias.
pub(super) fn linear(numerics: Numerics, rows: u64, input: u64, output: u64) -> u64 {
    numerics.bytes(rows * output + output * input + output)
}

/// The codes of the input and its scales, row by row, and the layer's scales.
pub(super) fn quantizing(elements: u64, rows: u64, output: u64) -> u64 {
    elements + F32 * (rows + output)
}

/// Each stream has a workspace and room for a decoded weight of its own; FP8 products need no
/// decoded weight.
pub(super) fn side_stream(numerics: Numerics, weight: u64) -> u64 {
    let decoded = match numerics.arithmetic {
        Arithmetic::Exact => numerics.bytes(weight),
        Arithmetic::Fp8 => 0,
    };
    WORKSPACE as u64 + decoded
}

/// The result, and for wide heads, which the VAE has, a share of their scores at a time.
pub(super) fn attention(numerics: Numerics, shape: AttentionShape) -> u64 {
    let wide = shape.dim > WIDEST_HEAD as u64;
    let scores = if wide { COLUMNS as u64 } else { 0 };
    numerics.bytes(shape.queries()) + scores
}
