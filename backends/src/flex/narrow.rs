//! Products of few rows with a weight, for processors with AVX-512.
//!
//! A general matrix product first packs both operands, and for few rows that costs more than the
//! arithmetic. Here weight rows are decoded straight into the first-level cache, a few at a
//! time, and multiplied with all rows of `x` at once, which lie side by side in vector lanes.

use std::arch::x86_64::*;

use crate::working_memory::flex::LANES;

/// Weight rows that are multiplied together: with four registers of `x`, 24 accumulators.
pub(super) const GROUP: usize = 6;

/// Elements of a weight row that are decoded at a time: a group of them is 24 KiB.
pub(super) const DEPTH: usize = 1024;

/// Rows of `x` for which this is the faster way: a single one is a product with a vector, and
/// for many a general product is as fast.
const ROWS: std::ops::Range<usize> = 2..128;

/// Tells whether to multiply `rows` rows of `x` in this way, on this processor.
pub(super) fn suits(rows: usize) -> bool {
    ROWS.contains(&rows) && is_supported()
}

fn is_supported() -> bool {
    is_x86_feature_detected!("avx512f")
}

/// `x` with its rows in lanes: `[width, lanes]`, padded with zeros.
pub(super) struct LaneMatrix {
    values: Vec<f32>,
    lanes: usize,
    width: usize,
}

impl LaneMatrix {
    /// Transposes `[rows, width]`.
    pub(super) fn new(x: &[f32], rows: usize, width: usize) -> Self {
        let lanes = rows.next_multiple_of(LANES);
        let mut values = vec![0.0f32; width * lanes];
        for (row, x) in x.chunks_exact(width).enumerate() {
            for (column, &value) in values.chunks_exact_mut(lanes).zip(x) {
                column[row] = value;
            }
        }
        Self {
            values,
            lanes,
            width,
        }
    }

    /// Sums that [`multiply`](Self::multiply) needs for a group of weight rows.
    pub(super) fn sums(&self) -> usize {
        GROUP * self.lanes
    }

    /// The sum of weight row `row` of a group with row `x_row` of `x`.
    pub(super) fn sum(&self, sums: &[f32], row: usize, x_row: usize) -> f32 {
        sums[row * self.lanes + x_row]
    }

    /// Adds to the `[GROUP, lanes]` sums the products of `weights`, `[GROUP, DEPTH]` of which
    /// the first `depth` columns count, with the columns of `x` from `start`.
    pub(super) fn multiply(&self, weights: &[f32], start: usize, depth: usize, sums: &mut [f32]) {
        assert!(is_supported());
        assert!(depth <= DEPTH && start + depth <= self.width);
        assert!(weights.len() == GROUP * DEPTH && sums.len() == self.sums());
        let x = &self.values[start * self.lanes..(start + depth) * self.lanes];
        let mut lane = 0;
        while lane < self.lanes {
            // SAFETY: the processor has AVX-512; `lane` and the registers after it lie within
            // the lanes of `x` and `sums`, whose lengths were asserted.
            lane += unsafe {
                match (self.lanes - lane) / LANES {
                    1 => tile::<1>(x, self.lanes, lane, weights, depth, sums),
                    2 => tile::<2>(x, self.lanes, lane, weights, depth, sums),
                    3 => tile::<3>(x, self.lanes, lane, weights, depth, sums),
                    _ => tile::<4>(x, self.lanes, lane, weights, depth, sums),
                }
            };
        }
    }
}

/// One group of weight rows with `N` registers of `x`'s rows; returns the lanes done.
///
/// # Safety
/// The processor has AVX-512; `x` is `[depth, lanes]`, `sums` `[GROUP, lanes]` and `weights`
/// `[GROUP, DEPTH]`; lanes `[lane, lane + 16 N)` exist.
#[target_feature(enable = "avx512f")]
unsafe fn tile<const N: usize>(
    x: &[f32],
    lanes: usize,
    lane: usize,
    weights: &[f32],
    depth: usize,
    sums: &mut [f32],
) -> usize {
    // SAFETY: all offsets are within the slices by the caller's promise.
    unsafe {
        let at = |row: usize, n: usize| row * lanes + lane + n * LANES;
        let mut accumulators = [[_mm512_setzero_ps(); N]; GROUP];
        for (row, accumulators) in accumulators.iter_mut().enumerate() {
            for (n, accumulator) in accumulators.iter_mut().enumerate() {
                *accumulator = _mm512_loadu_ps(sums.as_ptr().add(at(row, n)));
            }
        }
        for k in 0..depth {
            let mut columns = [_mm512_setzero_ps(); N];
            for (n, column) in columns.iter_mut().enumerate() {
                *column = _mm512_loadu_ps(x.as_ptr().add(at(k, n)));
            }
            for (row, accumulators) in accumulators.iter_mut().enumerate() {
                let weight = _mm512_set1_ps(*weights.get_unchecked(row * DEPTH + k));
                for (accumulator, column) in accumulators.iter_mut().zip(columns) {
                    *accumulator = _mm512_fmadd_ps(weight, column, *accumulator);
                }
            }
        }
        for (row, accumulators) in accumulators.iter().enumerate() {
            for (n, accumulator) in accumulators.iter().enumerate() {
                _mm512_storeu_ps(sums.as_mut_ptr().add(at(row, n)), *accumulator);
            }
        }
    }
    N * LANES
}
