//! Operations row by row: each is one pass over rows that fit a core's cache, in vector lanes.

use burn::tensor::{Bytes, DType, Tensor};
use burn_flex::{Flex, FlexTensor, Layout};
use pulp::Arch;
use rayon::prelude::*;

use super::tensor::{in_dtype, raw, to_f32, typed};
use super::vector_math::{gelu_tanh as gelu, silu, sum_of};
use crate::kernels::{
    GatedAdd, LayerNorm, RmsNorm, RmsNormRotary, RotaryEmbedding, Rotation, Sequence, SiluMul,
};

/// Elements that a thread takes at a time: 64 KiB, so that a second pass finds them in cache.
const CHUNK: usize = 16 << 10;

/// Computes [`LayerNorm`] of `x` itself.
pub(super) fn layer_norm(call: LayerNorm<Flex>) -> Tensor<Flex, 3> {
    let [_, tokens, channels] = call.x.dims();
    let (shift, scale) = (to_f32(raw(call.shift)), to_f32(raw(call.scale)));
    let (shift, scale) = (shift.storage::<f32>(), scale.storage::<f32>());
    let epsilon = call.epsilon as f32;
    let y = map_rows(raw(call.x), channels, |index, row| {
        let batch = index / tokens * channels;
        let shift = &shift[batch..batch + channels];
        let scale = &scale[batch..batch + channels];
        let mean = sum_of(row, |v| v) / channels as f32;
        let variance = sum_of(row, |v| (v - mean) * (v - mean)) / channels as f32;
        let inverse = 1.0 / (variance + epsilon).sqrt();
        for ((value, shift), scale) in row.iter_mut().zip(shift).zip(scale) {
            *value = (*value - mean) * inverse * (1.0 + scale) + shift;
        }
    });
    typed(y)
}

pub(super) fn rms_norm<const D: usize>(call: RmsNorm<Flex, D>) -> Tensor<Flex, D> {
    let weight = to_f32(raw(call.weight));
    let weight = weight.storage::<f32>();
    let epsilon = call.epsilon as f32;
    let y = map_rows(raw(call.x), weight.len(), |_, row| {
        rms_normalise(row, weight, epsilon);
    });
    typed(y)
}

pub(super) fn rotary_embedding(call: RotaryEmbedding<Flex>) -> Tensor<Flex, 4> {
    let rotation = call.rotation;
    let angles = [call.cos, call.sin];
    map_heads(call.x, angles, |head, cos, sin| {
        rotate_head(head, cos, sin, rotation)
    })
}

pub(super) fn rms_norm_rotary(call: RmsNormRotary<Flex>) -> Tensor<Flex, 4> {
    let Sequence {
        x,
        weight,
        cos,
        sin,
    } = call.sequence;
    let (rotation, epsilon) = (call.rotation, call.epsilon as f32);
    let weight = to_f32(raw(weight));
    let weight = weight.storage::<f32>();
    map_heads(x, [cos, sin], |head, cos, sin| {
        rms_normalise(head, weight, epsilon);
        rotate_head(head, cos, sin, rotation);
    })
}

/// Computes [`GeluTanh`](crate::kernels::GeluTanh).
pub(super) fn gelu_tanh(x: FlexTensor) -> FlexTensor {
    map_rows(x, CHUNK, |_, row| {
        for value in row {
            *value = gelu(*value);
        }
    })
}

pub(super) fn silu_mul<const D: usize>(call: SiluMul<Flex, D>) -> Tensor<Flex, D> {
    let up = to_f32(raw(call.up));
    let up = up.storage::<f32>();
    let y = map_rows(raw(call.gate), CHUNK, |index, row| {
        for (value, up) in row.iter_mut().zip(&up[index * CHUNK..]) {
            *value = silu(*value) * up;
        }
    });
    typed(y)
}

pub(super) fn gated_add(call: GatedAdd<Flex>) -> Tensor<Flex, 3> {
    let [_, tokens, channels] = call.x.dims();
    let (x, gate) = (to_f32(raw(call.x)), to_f32(raw(call.gate)));
    let (x, gate) = (x.storage::<f32>(), gate.storage::<f32>());
    let y = map_rows(raw(call.residual), channels, |index, row| {
        let batch = index / tokens * channels;
        let gate = &gate[batch..batch + channels];
        let x = &x[index * channels..(index + 1) * channels];
        for ((value, x), gate) in row.iter_mut().zip(x).zip(gate) {
            *value += x * gate;
        }
    });
    typed(y)
}

/// `row / sqrt(mean(row²) + epsilon) * weight`, in place.
#[inline(always)]
fn rms_normalise(row: &mut [f32], weight: &[f32], epsilon: f32) {
    let mean_square = sum_of(row, |v| v * v) / weight.len() as f32;
    let inverse = 1.0 / (mean_square + epsilon).sqrt();
    for (value, weight) in row.iter_mut().zip(weight) {
        *value = *value * inverse * weight;
    }
}

/// Rotates one head's vector, in place.
#[inline(always)]
fn rotate_head(head: &mut [f32], cos: &[f32], sin: &[f32], rotation: Rotation) {
    match rotation {
        Rotation::AdjacentPairs => {
            for ((pair, c), s) in head.chunks_exact_mut(2).zip(cos).zip(sin) {
                let (a, b) = (pair[0], pair[1]);
                pair[0] = a * c - b * s;
                pair[1] = a * s + b * c;
            }
        }
        Rotation::Halves => {
            let (first, second) = head.split_at_mut(head.len() / 2);
            for (((a, b), c), s) in first.iter_mut().zip(second).zip(cos).zip(sin) {
                (*a, *b) = (*a * c - *b * s, *a * s + *b * c);
            }
        }
    }
}

/// Applies `f(head, cos, sin)` to every head of `[batch, tokens, heads, head_dim]`, with its
/// token's angles, as [`map_rows`] does to rows.
fn map_heads(
    x: Tensor<Flex, 4>,
    [cos, sin]: [Tensor<Flex, 2>; 2],
    f: impl Fn(&mut [f32], &[f32], &[f32]) + Sync,
) -> Tensor<Flex, 4> {
    let [_, tokens, heads, dim] = x.dims();
    let half = dim / 2;
    let (cos, sin) = (to_f32(raw(cos)), to_f32(raw(sin)));
    let (cos, sin) = (cos.storage::<f32>(), sin.storage::<f32>());
    let y = map_rows(raw(x), heads * dim, |index, row| {
        let angles = index % tokens * half;
        let cos = &cos[angles..angles + half];
        let sin = &sin[angles..angles + half];
        for head in row.chunks_exact_mut(dim) {
            f(head, cos, sin);
        }
    });
    typed(y)
}

/// Applies `f(row index, row)` to every row of `width` elements, in f32 and in place where the
/// tensor is not shared; the result has `x`'s dtype. The last row may be shorter.
fn map_rows(x: FlexTensor, width: usize, f: impl Fn(usize, &mut [f32]) + Sync) -> FlexTensor {
    let dtype = x.dtype();
    let mut x = to_f32(x);
    let rows_at_once = (CHUNK / width.max(1)).max(1);
    let chunk = rows_at_once * width.max(1);
    let run = |index: usize, values: &mut [f32]| {
        Arch::new().dispatch(|| {
            for (row, values) in values.chunks_mut(width.max(1)).enumerate() {
                f(index * rows_at_once + row, values);
            }
        });
    };
    if let Some(values) = x.try_storage_mut::<f32>() {
        values
            .par_chunks_mut(chunk)
            .enumerate()
            .for_each(|(index, values)| run(index, values));
        return in_dtype(x, dtype);
    }
    let source = x.storage::<f32>();
    let mut out = vec![0.0f32; source.len()];
    out.par_chunks_mut(chunk)
        .zip(source.par_chunks(chunk))
        .enumerate()
        .for_each(|(index, (values, source))| {
            values.copy_from_slice(source);
            run(index, values);
        });
    let layout = Layout::contiguous(x.layout().shape().clone());
    in_dtype(
        FlexTensor::new(Bytes::from_elems(out), layout, DType::F32),
        dtype,
    )
}
