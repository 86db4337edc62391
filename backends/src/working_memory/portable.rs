//! The memory that the compositions of Burn's operations hold.

use super::{AttentionShape, F32, Numerics};
use crate::weight::portable::rows_at_once;

/// The decoded part of the weight and its product; then all products joined; then the result
/// scaled in f32.
pub(super) fn linear(numerics: Numerics, rows: u64, input: u64, output: u64) -> u64 {
    let result = rows * output;
    let decoded_rows = (rows_at_once(input as usize) as u64).min(output);
    let decoding = numerics.bytes(decoded_rows * input + rows * decoded_rows);
    let products = numerics.bytes(result);
    let joined = 2 * numerics.bytes(result);
    let scaled = numerics.bytes(result) + F32 * result;
    (decoding + products).max(joined).max(scaled)
}

/// The input, divided by its scales and quantized, with the steps between codes; then the result,
/// scaled.
pub(super) fn quantizing(elements: u64, rows: u64, output: u64) -> u64 {
    (4 * F32 * elements).max(F32 * (elements + 2 * rows * output))
}

/// The centred rows and their squares.
pub(super) fn norm(elements: u64) -> u64 {
    2 * F32 * elements
}

/// The rows and their squares, cubes or rotated halves, both in f32.
pub(super) fn in_place(numerics: Numerics, elements: u64) -> u64 {
    2 * F32 * elements - numerics.bytes(elements)
}

/// Both factors and the sigmoid, all in f32.
pub(super) fn silu_mul(numerics: Numerics, elements: u64) -> u64 {
    F32 * elements + 2 * numerics.widened(elements)
}

/// A matrix of all scores beside the operands: the flash kernels fall back to one, and tuning
/// tries it.
pub(super) fn attention(numerics: Numerics, shape: AttentionShape) -> u64 {
    let AttentionShape {
        tokens,
        keys,
        heads,
        kv_heads,
        dim,
        causal,
    } = shape;
    let queries = shape.queries();
    // Keys and values once for each head that shares them, and what the products want contiguous.
    let repeated = match kv_heads == heads {
        true => 0,
        false => 2 * keys * heads * dim,
    };
    let contiguous = queries + 2 * keys * heads * dim;
    let scores = heads * tokens * keys;
    let mask = if causal { (4 + 1) * tokens * keys } else { 0 };
    numerics.bytes(repeated + contiguous + scores + queries) + mask
}

/// The input, its copy in another layout, and the result in both.
pub(super) fn convolution_maps(area: u64, input: u64, output: u64) -> u64 {
    2 * (input + output) * area
}

/// The result and two maps beside it.
pub(super) fn channel_norm_maps(map: u64) -> u64 {
    3 * map
}

/// The weight, tap by tap.
pub(super) fn convolution_scratch(input: u64, output: u64) -> u64 {
    F32 * 9 * input * output
}
