//! Attention on the CPU: a block of one head's queries at a time against all its keys, so that
//! the scores in memory are one block per thread.

use burn::tensor::{Bytes, DType};
use burn_flex::{FlexTensor, Layout};
use pulp::Arch;
use rayon::prelude::*;

use super::vector_math::{exp, max_of, sum_of};
use crate::flex_tensor::{in_dtype, to_f32};

/// Scores in a block: 1 MiB, half of a current core's second-level cache.
const BLOCK_SCORES: usize = 256 << 10;

/// Fewest and most query rows in a block: a product with fewer rows re-reads the keys too often.
const BLOCK_ROWS: std::ops::RangeInclusive<usize> = 64..=256;

/// See [`attention`](super::attention).
pub(super) fn scaled_attention(
    q: FlexTensor,
    k: FlexTensor,
    v: FlexTensor,
    causal: bool,
) -> FlexTensor {
    let dtype = q.dtype();
    let (q, k, v) = (to_f32(q), to_f32(k), to_f32(v));
    let [batch, tokens, heads, dim] = q.layout().shape().dims();
    let [_, keys, kv_heads, _] = k.layout().shape().dims();
    let shape = q.layout().shape().clone();
    let mut out = vec![0.0f32; batch * tokens * heads * dim];
    let problem = Problem {
        q: q.storage(),
        k: k.storage(),
        v: v.storage(),
        out: out.as_mut_ptr(),
        tokens,
        keys,
        heads,
        kv_heads,
        dim,
        causal,
    };
    let rows = (BLOCK_SCORES / keys.max(1))
        .clamp(*BLOCK_ROWS.start(), *BLOCK_ROWS.end())
        .min(tokens.max(1));
    let blocks = tokens.div_ceil(rows);
    (0..batch * heads * blocks)
        .into_par_iter()
        .for_each_init(Vec::new, |scores, task| {
            let (pair, block) = (task / blocks, task % blocks);
            let start = block * rows;
            let count = rows.min(tokens - start);
            // SAFETY: each task has its own head and query rows of `out`, which outlives them.
            unsafe { problem.block(pair / heads, pair % heads, start, count, scores) };
        });
    let out = FlexTensor::new(
        Bytes::from_elems(out),
        Layout::contiguous(shape),
        DType::F32,
    );
    in_dtype(out, dtype)
}

/// All of one attention call; tensors are contiguous `[batch, tokens or keys, heads, dim]`.
struct Problem<'a> {
    q: &'a [f32],
    k: &'a [f32],
    v: &'a [f32],
    out: *mut f32,
    tokens: usize,
    keys: usize,
    heads: usize,
    kv_heads: usize,
    dim: usize,
    causal: bool,
}

// SAFETY: `out` is only written by `block`, whose callers promise disjoint blocks.
unsafe impl Sync for Problem<'_> {}

impl Problem<'_> {
    /// Query rows `[start, start + count)` of one head.
    ///
    /// # Safety
    /// The rows exist, and no other thread computes them.
    unsafe fn block(
        &self,
        batch: usize,
        head: usize,
        start: usize,
        count: usize,
        scores: &mut Vec<f32>,
    ) {
        let Self {
            heads,
            kv_heads,
            dim,
            ..
        } = *self;
        let keys = if self.causal {
            (start + count).min(self.keys)
        } else {
            self.keys
        };
        let kv_head = head / (heads / kv_heads);
        let (q_stride, kv_stride) = (heads * dim, kv_heads * dim);
        let q = &self.q[((batch * self.tokens + start) * heads + head) * dim..];
        let first_key = (batch * self.keys * kv_heads + kv_head) * dim;
        let (k, v) = (&self.k[first_key..], &self.v[first_key..]);
        // SAFETY: in bounds, and ours by the caller.
        let out = unsafe {
            self.out
                .add(((batch * self.tokens + start) * heads + head) * dim)
        };

        scores.clear();
        scores.resize(count * keys, 0.0);
        let scale = 1.0 / (dim as f32).sqrt();
        // SAFETY: the slices hold `count` queries and `keys` keys at these strides.
        unsafe {
            multiply(
                [count, keys, dim],
                (scores.as_mut_ptr(), keys),
                (q.as_ptr(), q_stride as isize, 1),
                (k.as_ptr(), 1, kv_stride as isize),
                scale,
            );
        }
        let mut inverse_sums = vec![0.0f32; count];
        Arch::new().dispatch(|| {
            for (row, (scores, inverse)) in scores
                .chunks_exact_mut(keys)
                .zip(&mut inverse_sums)
                .enumerate()
            {
                let visible = if self.causal {
                    (start + row + 1).min(keys)
                } else {
                    keys
                };
                let (seen, hidden) = scores.split_at_mut(visible);
                let max = max_of(seen);
                for score in seen.iter_mut() {
                    *score = exp(*score - max);
                }
                hidden.fill(0.0);
                *inverse = 1.0 / sum_of(seen, |v| v);
            }
        });
        // SAFETY: as above; `out` holds `count` rows of `dim` at the queries' stride.
        unsafe {
            multiply(
                [count, dim, keys],
                (out, q_stride),
                (scores.as_ptr(), keys as isize, 1),
                (v.as_ptr(), kv_stride as isize, 1),
                1.0,
            );
            for (row, inverse) in inverse_sums.iter().enumerate() {
                let row = std::slice::from_raw_parts_mut(out.add(row * q_stride), dim);
                for value in row {
                    *value *= inverse;
                }
            }
        }
    }
}

/// `out = (lhs · rhs) * factor` on this thread, for an `[m, n, k]` problem; operands come as
/// (pointer, row stride, column stride), the row-major output as (pointer, row stride).
///
/// # Safety
/// All elements that the shape and strides name are in bounds, and `out` is ours.
unsafe fn multiply(
    [m, n, k]: [usize; 3],
    out: (*mut f32, usize),
    lhs: (*const f32, isize, isize),
    rhs: (*const f32, isize, isize),
    factor: f32,
) {
    // SAFETY: by the caller.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            out.0,
            1,
            out.1 as isize,
            false,
            lhs.0,
            lhs.2,
            lhs.1,
            rhs.0,
            rhs.2,
            rhs.1,
            0.0,
            factor,
            false,
            false,
            false,
            gemm::Parallelism::None,
        );
    }
}
