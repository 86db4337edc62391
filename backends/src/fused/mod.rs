//! The operations between a transformer's matrix products, each by the backend's kernel where it
//! has one, else by Burn's own operations.
//!
//! Statistics (means, norms, softmax, rotation angles) are always in f32, whatever the dtype of
//! the activations.

pub(crate) mod portable;
#[cfg(all(test, feature = "flex"))]
mod tests;

use burn::tensor::Tensor;

use crate::kernels::{
    Attention, ChannelNorm, Concatenate, ConvSame, GatedAdd, GeluTanh, JointAttention,
    JointRmsNormRotary, Kernels, RmsNorm, RmsNormRotary, RotaryEmbedding, Rotation, SiluMul,
};

/// Computes [`GatedAdd`]: `residual + x * gate`.
///
/// * `residual`, `x`: float `[batch, tokens, channels]`; `gate`: float `[batch, 1, channels]`.
pub fn gated_add<B: Kernels>(
    residual: Tensor<B, 3>,
    x: Tensor<B, 3>,
    gate: Tensor<B, 3>,
) -> Tensor<B, 3> {
    B::gated_add(GatedAdd { residual, x, gate }).unwrap_or_else(portable::gated_add)
}

/// Computes [`RmsNorm`]: `x / sqrt(mean(x²) + epsilon) * weight` over the last dimension.
///
/// * `x`: float `[.., channels]`; `weight`: f32 `[channels]`.
pub fn rms_norm<B: Kernels, const D: usize>(
    x: Tensor<B, D>,
    weight: Tensor<B, 1>,
    epsilon: f64,
) -> Tensor<B, D> {
    B::rms_norm(RmsNorm { x, weight, epsilon }).unwrap_or_else(portable::rms_norm)
}

/// Computes [`RotaryEmbedding`]: rotates each head's vector by its token's angles.
///
/// * `x`: float `[batch, tokens, heads, head_dim]`.
/// * `cos`, `sin`: f32 `[tokens, head_dim / 2]`.
pub fn rotary_embedding<B: Kernels>(
    x: Tensor<B, 4>,
    cos: Tensor<B, 2>,
    sin: Tensor<B, 2>,
    rotation: Rotation,
) -> Tensor<B, 4> {
    let call = RotaryEmbedding {
        x,
        cos,
        sin,
        rotation,
    };
    B::rotary_embedding(call).unwrap_or_else(portable::rotary_embedding)
}

/// Computes [`RmsNormRotary`]: [`rms_norm`] of each head's vector, then [`rotary_embedding`].
/// Returns float `[batch, tokens, heads, head_dim]`.
pub fn rms_norm_rotary<B: Kernels>(call: RmsNormRotary<B>) -> Tensor<B, 4> {
    B::rms_norm_rotary(call).unwrap_or_else(|call| {
        let (of, rotation) = (call.sequence, call.rotation);
        let x = rms_norm(of.x, of.weight, call.epsilon);
        rotary_embedding(x, of.cos, of.sin, rotation)
    })
}

/// Computes [`JointRmsNormRotary`]: one joint sequence, float
/// `[1, length + tokens, heads, head_dim]`, for each of the lengths.
pub fn joint_rms_norm_rotary<B: Kernels>(call: JointRmsNormRotary<'_, B>) -> Vec<Tensor<B, 4>> {
    B::joint_rms_norm_rotary(call).unwrap_or_else(|call| {
        let (rotation, epsilon) = (call.rotation, call.epsilon);
        let [first, second] = [call.first, call.second].map(|sequence| {
            rms_norm_rotary(RmsNormRotary {
                sequence,
                rotation,
                epsilon,
            })
        });
        join(&first, &second, call.lengths)
    })
}

/// Joins, for each length, so many tokens of `first` with one batch of `second`.
fn join<B: Kernels>(
    first: &Tensor<B, 4>,
    second: &Tensor<B, 4>,
    lengths: &[usize],
) -> Vec<Tensor<B, 4>> {
    let mut start = 0;
    let mut joined = Vec::with_capacity(lengths.len());
    for (batch, &length) in lengths.iter().enumerate() {
        let parts = vec![
            first.clone().narrow(1, start, length),
            second.clone().narrow(0, batch, 1),
        ];
        joined.push(concatenate(parts, 1));
        start += length;
    }
    joined
}

/// Computes [`GeluTanh`], the tanh form of GELU.
pub fn gelu_tanh<B: Kernels, const D: usize>(x: Tensor<B, D>) -> Tensor<B, D> {
    B::gelu_tanh(GeluTanh { x }).unwrap_or_else(portable::gelu_tanh)
}

/// Computes [`SiluMul`]: `silu(gate) * up`.
pub fn silu_mul<B: Kernels, const D: usize>(gate: Tensor<B, D>, up: Tensor<B, D>) -> Tensor<B, D> {
    B::silu_mul(SiluMul { gate, up }).unwrap_or_else(portable::silu_mul)
}

/// Computes [`ChannelNorm`]: `x / max(‖x‖₂, 1e-12) * sqrt(channels) * gamma` with the norm over
/// channels, then SiLU if `silu`.
///
/// * `x`: float `[batch, channels, height, width]`; `gamma`: f32 `[channels]`.
pub fn channel_norm<B: Kernels>(x: Tensor<B, 4>, gamma: Tensor<B, 1>, silu: bool) -> Tensor<B, 4> {
    B::channel_norm(ChannelNorm { x, gamma, silu }).unwrap_or_else(portable::channel_norm)
}

/// Computes [`Attention`]: `softmax(q kᵀ / sqrt(head_dim)) v`.
///
/// * `q`: float `[batch, tokens, heads, head_dim]`.
/// * `k`, `v`: float `[batch, keys, kv_heads, head_dim]`, where `kv_heads` divides `heads`
///   (grouped-query attention).
/// * `causal`: token `i` sees keys `0..=i` only.
///
/// Returns `[batch, tokens, heads, head_dim]`.
pub fn attention<B: Kernels>(
    q: Tensor<B, 4>,
    k: Tensor<B, 4>,
    v: Tensor<B, 4>,
    causal: bool,
) -> Tensor<B, 4> {
    B::scaled_attention(Attention { q, k, v, causal }).unwrap_or_else(portable::attention)
}

/// Computes [`JointAttention`]: [`attention`] within each joint sequence. Returns what the tokens
/// of the first and of the second tensor see, in the shapes of `v`.
///
/// * `q`, `k`: one float `[1, length + tokens, heads, head_dim]` for each of `lengths`, as of
///   [`joint_rms_norm_rotary`].
/// * `v`: the values of the first tensor, float `[1, all lengths, heads, head_dim]`, and of the
///   second, `[lengths, tokens, heads, head_dim]`.
pub fn joint_attention<B: Kernels>(
    q: Vec<Tensor<B, 4>>,
    k: Vec<Tensor<B, 4>>,
    v: [Tensor<B, 4>; 2],
    lengths: &[usize],
) -> [Tensor<B, 4>; 2] {
    B::joint_attention(JointAttention { q, k, v, lengths }).unwrap_or_else(|call| {
        let [first, second] = call.v;
        let v = join(&first, &second, call.lengths);
        let branches = call.q.into_iter().zip(call.k).zip(v).zip(call.lengths);
        let attended = branches.map(|(((q, k), v), &length)| {
            let joint = attention(q, k, v, false);
            let tokens = joint.dims()[1] - length;
            let first = joint.clone().narrow(1, 0, length);
            (first, joint.narrow(1, length, tokens))
        });
        let (first, second): (Vec<_>, Vec<_>) = attended.unzip();
        [concatenate(first, 1), concatenate(second, 0)]
    })
}

/// Joins float tensors along a dimension, in which alone they may differ. A single one stays where
/// it is.
pub fn concatenate<B: Kernels, const D: usize>(
    mut parts: Vec<Tensor<B, D>>,
    dim: usize,
) -> Tensor<B, D> {
    if parts.len() == 1 {
        return parts.remove(0);
    }
    B::concatenate(Concatenate { parts, dim })
        .unwrap_or_else(|Concatenate { parts, dim }| Tensor::cat(parts, dim))
}

/// Computes [`ConvSame`]: a convolution with stride 1 and a border of zeros that keeps the
/// image's size.
///
/// * `x`: float `[batch, in, height, width]`.
/// * `weight`: f32 `[out, in, side, side]` with an odd side; `bias`: f32 `[out]`.
///
/// Returns `[batch, out, height, width]`.
pub fn conv_same<B: Kernels>(
    x: Tensor<B, 4>,
    weight: Tensor<B, 4>,
    bias: Tensor<B, 1>,
) -> Tensor<B, 4> {
    B::conv_same(ConvSame { x, weight, bias }).unwrap_or_else(portable::conv_same)
}
