//! The sizes of the blocks that threads of the processor work on, and the memory that follows from
//! them.

use std::num::NonZeroUsize;
use std::ops::RangeInclusive;

use crate::working_memory::{AttentionShape, F32, F64, Numerics};

/// Rows of a weight that a thread decodes at a time when `x` has many rows. Each tile packs `x`
/// anew, so a tile must be worth it. A multiple of the product's own blocking; measured best from
/// 128 rows of `x` up.
pub(crate) const TILE_ROWS: usize = 256;

/// Rows of `x` from which [`TILE_ROWS`] applies.
pub(crate) const MANY_ROWS: usize = 128;

/// Elements that a thread decodes at a time when `x` has few rows: 1 MiB as f32, half of a current
/// core's second-level cache.
pub(crate) const SMALL_TILE_ELEMENTS: usize = 256 << 10;

/// The fewest rows in such a tile: below, the product is too narrow for its kernel.
pub(crate) const SMALL_TILE_ROWS: usize = 48;

/// The most elements of a tile that a thread keeps for its next one: 4 MiB as f32. With few rows,
/// the system needs longer to hand out fresh memory than the product takes.
pub(crate) const KEPT_ELEMENTS: usize = 1 << 20;

/// The f32 lanes of an AVX-512 register, into which few rows of `x` are transposed.
pub(crate) const LANES: usize = 16;

/// The memory that a thread keeps from one product to the next: a slab of the size of a second-level
/// cache, which the `gemm` crate takes.
const SLAB: u64 = 2 << 20;

/// How much of the inner dimension the `gemm` crate packs at a time.
const PACKED_DEPTH: u64 = 512;

/// Scores in a block of attention: 1 MiB as f32, half of a current core's second-level cache.
const BLOCK_SCORES: usize = 256 << 10;

/// The fewest and the most query rows in a block of attention: a product with fewer rows re-reads
/// the keys too often.
const BLOCK_QUERIES: RangeInclusive<usize> = 64..=256;

/// Accumulators in a block of a convolution: 1 MiB as f32, half of a current core's second-level
/// cache.
const BLOCK_ELEMENTS: usize = 256 << 10;

/// The fewest pixels in a block of a convolution: a product with fewer columns is too narrow for
/// its kernel.
const BLOCK_PIXELS: usize = 512;

/// How many query rows a thread takes at a time.
pub(crate) fn query_rows(tokens: usize, keys: usize) -> usize {
    let rows = BLOCK_SCORES / keys.max(1);
    rows.clamp(*BLOCK_QUERIES.start(), *BLOCK_QUERIES.end())
        .min(tokens.max(1))
}

/// How many output rows of a convolution a thread takes at a time: of maps of `height` rows of
/// `padded_width` pixels, border included, with `output` channels.
pub(crate) fn convolution_rows(
    height: usize,
    padded_width: usize,
    output: usize,
    threads: usize,
) -> usize {
    let pixels = (BLOCK_ELEMENTS / output.max(1)).max(BLOCK_PIXELS);
    (pixels / padded_width).min(height.div_ceil(threads)).max(1)
}

/// The memory that is held while an f32 copy is made, the copy included: casts go through f64.
fn widening(numerics: Numerics, elements: u64) -> u64 {
    match numerics.element() == F32 {
        true => 0,
        false => (F64 + F32) * elements,
    }
}

/// The memory that is held beside an f32 result while it is cast to the dtype of activations.
fn narrowing(numerics: Numerics, elements: u64) -> u64 {
    match numerics.element() == F32 {
        true => 0,
        false => F64 * elements + numerics.bytes(elements),
    }
}

/// The memory that all threads keep from one product to the next.
pub(super) fn kept_between_products(threads: NonZeroUsize) -> u64 {
    threads.get() as u64 * SLAB
}

/// The decoded tiles that all threads keep, if `x` has `rows` rows.
pub(super) fn kept_tiles(threads: NonZeroUsize, rows: u64) -> u64 {
    match rows >= MANY_ROWS as u64 {
        true => threads.get() as u64 * F32 * KEPT_ELEMENTS as u64,
        false => 0,
    }
}

/// See [`Numerics::linear`].
pub(super) fn linear(
    numerics: Numerics,
    threads: NonZeroUsize,
    rows: u64,
    input: u64,
    output: u64,
) -> u64 {
    let threads = threads.get() as u64;
    let result = rows * output;
    let tile = if rows < MANY_ROWS as u64 {
        let tile_rows = SMALL_TILE_ELEMENTS as u64 / input.max(1);
        let tile = tile_rows.max(SMALL_TILE_ROWS as u64) * input;
        // The rows may instead be transposed into vector lanes.
        (threads * tile).max((rows + LANES as u64) * input)
    } else {
        let tile = (TILE_ROWS as u64).min(output.div_ceil(threads)) * input;
        let kept = if tile <= KEPT_ELEMENTS as u64 {
            tile
        } else {
            0
        };
        let packed = PACKED_DEPTH.min(input) * (rows + TILE_ROWS as u64);
        threads * (tile - kept + packed)
    };
    let x = numerics.widened(rows * input);
    let scratch = (F32 * tile).max(narrowing(numerics, result));
    widening(numerics, rows * input).max(x + F32 * result + scratch)
}

/// A sum of two tensors of the dtype of activations, in f32.
pub(super) fn sum(numerics: Numerics, elements: u64) -> u64 {
    F32 * elements + widening(numerics, elements)
}

/// See [`Numerics::norm`].
pub(super) fn norm(numerics: Numerics, elements: u64) -> u64 {
    F32 * elements + narrowing(numerics, elements)
}

/// See [`Numerics::in_place`].
pub(super) fn in_place(numerics: Numerics, elements: u64) -> u64 {
    widening(numerics, elements)
}

/// An operation on two tensors that takes the place of the first.
pub(super) fn of_two(numerics: Numerics, elements: u64) -> u64 {
    numerics.widened(elements) + narrowing(numerics, elements)
}

/// See [`Numerics::attention`].
pub(super) fn attention(numerics: Numerics, threads: NonZeroUsize, shape: AttentionShape) -> u64 {
    let AttentionShape {
        tokens,
        keys,
        kv_heads,
        dim,
        ..
    } = shape;
    let queries = shape.queries();
    let pairs = 2 * keys * kv_heads * dim;
    let rows = query_rows(tokens as usize, keys as usize) as u64;
    let scratch = rows * (keys + 2 * dim) + PACKED_DEPTH * (keys + rows + dim);
    // A head's keys and values, side by side.
    let by_head = if kv_heads == 1 { 0 } else { pairs };
    let scratch = F32 * threads.get() as u64 * scratch;
    numerics.widened(queries + pairs)
        + F32 * (by_head + queries)
        + scratch.max(narrowing(numerics, queries))
}

/// The weight tap by tap, the threads' accumulators and packed operands; see
/// [`Numerics::convolution_scratch`].
pub(super) fn convolution_scratch(
    threads: NonZeroUsize,
    [height, width]: [u64; 2],
    input: u64,
    output: u64,
) -> u64 {
    let width = width as usize + 2;
    let rows = convolution_rows(height as usize, width, output as usize, threads.get());
    let pixels = (rows * width) as u64;
    let packed = PACKED_DEPTH.min(input) * (pixels + output);
    F32 * (9 * input * output + threads.get() as u64 * (pixels * output + packed))
}
