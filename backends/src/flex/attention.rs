//! Attention on the CPU: a block of one head's queries at a time against all its keys, so that
//! the scores in memory are one block per thread.

use std::borrow::Cow;

use burn::tensor::{Bytes, DType, Tensor};
use burn_flex::{Flex, FlexTensor, Layout};
use pulp::{Arch, NullaryFnOnce};
use rayon::prelude::*;

use super::tensor::{in_dtype, raw, to_f32, typed};
use super::vector_math::{exp, max_of, sum_of};
use crate::kernels::Attention;
use crate::working_memory::flex::query_rows;

pub(super) fn attention(call: Attention<Flex>) -> Tensor<Flex, 4> {
    let Attention { q, k, v, causal } = call;
    let dtype = q.dtype();
    let [q, k, v] = [q, k, v].map(|tensor| to_f32(raw(tensor)));
    let [batch, tokens, heads, dim] = q.layout().shape().dims();
    let [_, keys, kv_heads, _] = k.layout().shape().dims();
    let shape = q.layout().shape().clone();
    let mut out = vec![0.0f32; batch * tokens * heads * dim];
    let problem = Problem {
        q: q.storage(),
        k: by_head(k.storage(), [batch, keys, kv_heads, dim]),
        v: by_head(v.storage(), [batch, keys, kv_heads, dim]),
        out: out.as_mut_ptr(),
        tokens,
        keys,
        heads,
        kv_heads,
        dim,
        causal,
    };
    let rows = query_rows(tokens, keys);
    let blocks = tokens.div_ceil(rows);
    (0..batch * heads * blocks)
        .into_par_iter()
        .for_each_init(Scratch::default, |scratch, task| {
            let (pair, block) = (task / blocks, task % blocks);
            let start = block * rows;
            let count = rows.min(tokens - start);
            // SAFETY: each task has its own head and query rows of `out`, which outlives them.
            unsafe { problem.block(pair / heads, pair % heads, start, count, scratch) };
        });
    let out = FlexTensor::new(
        Bytes::from_elems(out),
        Layout::contiguous(shape),
        DType::F32,
    );
    typed(in_dtype(out, dtype))
}

/// `[batch, tokens, heads, dim]` as `[batch, heads, tokens, dim]`. A head's rows are read many
/// times, and apart they lie a power of two bytes from each other, which a cache holds badly.
fn by_head(values: &[f32], [batch, tokens, heads, dim]: [usize; 4]) -> Cow<'_, [f32]> {
    if heads == 1 {
        return Cow::Borrowed(values);
    }
    let mut gathered = vec![0.0f32; values.len()];
    gathered
        .par_chunks_mut((tokens * dim).max(1))
        .enumerate()
        .for_each(|(pair, rows)| {
            let (image, head) = (pair / heads, pair % heads);
            for (token, row) in rows.chunks_exact_mut(dim).enumerate() {
                let start = ((image * tokens + token) * heads + head) * dim;
                row.copy_from_slice(&values[start..start + dim]);
            }
        });
    debug_assert_eq!(gathered.len(), batch * heads * tokens * dim);
    Cow::Owned(gathered)
}

/// One thread's block.
#[derive(Default)]
struct Scratch {
    /// `[rows, dim]`.
    q: Vec<f32>,
    /// `[rows, keys]`.
    scores: Vec<f32>,
    /// `[rows, dim]`, before the division by the sum of each row's scores.
    out: Vec<f32>,
    /// `[rows]`.
    sums: Vec<f32>,
}

/// All of one attention call.
struct Problem<'a> {
    /// `[batch, tokens, heads, dim]`.
    q: &'a [f32],
    /// `[batch, kv_heads, keys, dim]`.
    k: Cow<'a, [f32]>,
    /// `[batch, kv_heads, keys, dim]`.
    v: Cow<'a, [f32]>,
    /// `[batch, tokens, heads, dim]`.
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
        scratch: &mut Scratch,
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
        let first_key = (batch * kv_heads + kv_head) * self.keys * dim;
        let k = &self.k[first_key..first_key + keys * dim];
        let v = &self.v[first_key..first_key + keys * dim];
        let row_start = |row: usize| ((batch * self.tokens + start + row) * heads + head) * dim;

        scratch.q.clear();
        for row in 0..count {
            let at = row_start(row);
            scratch.q.extend_from_slice(&self.q[at..at + dim]);
        }
        scratch.scores.resize(count * keys, 0.0);
        scratch.out.resize(count * dim, 0.0);
        scratch.sums.resize(count, 0.0);
        let scores = &mut scratch.scores[..count * keys];
        let scale = 1.0 / (dim as f32).sqrt();
        multiply([count, keys, dim], scores, &scratch.q, Rhs::Rows(k), scale);
        Arch::new().dispatch(Softmax {
            scores,
            sums: &mut scratch.sums,
            keys,
            first_visible: self.causal.then_some(start + 1),
        });
        let out = &mut scratch.out[..count * dim];
        multiply([count, dim, keys], out, scores, Rhs::Columns(v), 1.0);
        for (row, (values, sum)) in out.chunks_exact(dim).zip(&scratch.sums).enumerate() {
            // SAFETY: in bounds, and ours by the caller.
            let row = unsafe { std::slice::from_raw_parts_mut(self.out.add(row_start(row)), dim) };
            for (out, value) in row.iter_mut().zip(values) {
                *out = value / sum;
            }
        }
    }
}

/// Turns rows of scores into `exp(score - max)` and their sums.
///
/// A type rather than a closure, since only a method can be made sure to be inlined where the
/// vector instructions are enabled.
struct Softmax<'a> {
    /// `[rows, keys]`.
    scores: &'a mut [f32],
    /// `[rows]`.
    sums: &'a mut [f32],
    keys: usize,
    /// The number of keys that the first row sees, if each row sees one more than the row before.
    first_visible: Option<usize>,
}

impl NullaryFnOnce for Softmax<'_> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let rows = self.scores.chunks_exact_mut(self.keys).zip(self.sums);
        for (row, (scores, sum)) in rows.enumerate() {
            let visible = self
                .first_visible
                .map_or(self.keys, |first| (first + row).min(self.keys));
            let (seen, hidden) = scores.split_at_mut(visible);
            let max = max_of(seen);
            for score in seen.iter_mut() {
                *score = exp(*score - max);
            }
            hidden.fill(0.0);
            *sum = sum_of(seen, |v| v);
        }
    }
}

/// The right-hand matrix `[k, n]` of a product.
enum Rhs<'a> {
    /// Row-major `[k, n]`.
    Columns(&'a [f32]),
    /// Its transpose, row-major `[n, k]`.
    Rows(&'a [f32]),
}

/// `out = (lhs · rhs) * factor` on this thread: `[m, k]` times `[k, n]`, row-major.
fn multiply([m, n, k]: [usize; 3], out: &mut [f32], lhs: &[f32], rhs: Rhs, factor: f32) {
    let (rhs, row_stride, column_stride) = match rhs {
        Rhs::Columns(values) => (values, n as isize, 1),
        Rhs::Rows(values) => (values, 1, k as isize),
    };
    assert!(out.len() >= m * n && lhs.len() >= m * k && rhs.len() >= k * n);
    // SAFETY: all three matrices are in bounds, as just asserted, and do not overlap.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            out.as_mut_ptr(),
            1,
            n as isize,
            false,
            lhs.as_ptr(),
            1,
            k as isize,
            rhs.as_ptr(),
            column_stride,
            row_stride,
            0.0,
            factor,
            false,
            false,
            false,
            gemm::Parallelism::None,
        );
    }
}
