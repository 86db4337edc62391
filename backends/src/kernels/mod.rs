//! The operations that a backend may compute by a kernel of its own.
//!
//! Each operation is a struct that holds its inputs, and a hook of [`Kernels`] takes the struct by
//! value. A backend with a kernel for these inputs returns the result; any other hands the struct
//! back, and the caller computes the operation with Burn's own operations instead. Callers do not
//! use the hooks but [`Weight`](crate::weight::Weight) and the functions of
//! [`fused`](crate::fused) and [`fp8`](crate::fp8), which do this.

mod attention;
mod elementwise;
mod image;
mod linear;
mod norm;
mod rotary;

pub use attention::{Attention, JointAttention, NormedJointAttention};
pub use elementwise::{Concatenate, GatedAdd, GeluTanh, SiluMul};
pub use image::{ChannelNorm, ConvSame};
pub use linear::{
    Activation, Activations, DenseLinear, DenseRows, Epilogue, PackedLinear, PackedMatrix,
    PackedRows, QuantizeRows, QuantizedLinear, QuantizedRows,
};
pub use norm::{GatedUpdate, LayerNorm, Normed, RmsNorm};
pub use rotary::{JointRmsNormRotary, RmsNormRotary, RotaryEmbedding, Rotation, Sequence};

use burn::tensor::backend::Backend;
use burn::tensor::ops::{AttentionModuleOptions, ConvOptions};
use burn::tensor::{FloatDType, Tensor};

/// A backend with its kernels; `Err` hands the inputs back to the caller, see the
/// [module](self).
///
/// A backend implements the hooks that it has kernels for. What an operation computes is said by
/// the struct of its inputs.
///
/// The three hooks without a body are Burn's own products, which portable bodies end in: each
/// backend names them by [`burns_products`], so that they are compiled once, beside the backend. A
/// default body would be compiled in every crate that computes with the backend, and CubeCL's
/// products are most of what such a crate consists of (5.8 million lines of LLVM IR).
pub trait Kernels: Backend {
    /// Burn's product of `[rows, in]` and `[in, out]`: float `[rows, out]`.
    fn burns_matmul(left: Tensor<Self, 2>, right: Tensor<Self, 2>) -> Tensor<Self, 2>;

    /// Burn's attention, float `[batch, heads, tokens, head_dim]`.
    fn burns_attention(
        qkv: [Tensor<Self, 4>; 3],
        options: AttentionModuleOptions,
    ) -> Tensor<Self, 4>;

    /// Burn's convolution of `[batch, in, height, width]` with `weight` `[out, in, kernel,
    /// kernel]`.
    fn burns_conv2d(
        x: Tensor<Self, 4>,
        weight: Tensor<Self, 4>,
        bias: Tensor<Self, 1>,
        options: ConvOptions<2>,
    ) -> Tensor<Self, 4>;

    /// Computes [`LayerNorm`].
    fn layer_norm(call: LayerNorm<Self>) -> Result<Normed<Self>, LayerNorm<Self>> {
        Err(call)
    }

    /// Computes [`GatedAdd`], float `[batch, tokens, channels]`.
    fn gated_add(call: GatedAdd<Self>) -> Result<Tensor<Self, 3>, GatedAdd<Self>> {
        Err(call)
    }

    /// Computes [`RmsNorm`], in the shape of its input.
    fn rms_norm<const D: usize>(
        call: RmsNorm<Self, D>,
    ) -> Result<Tensor<Self, D>, RmsNorm<Self, D>> {
        Err(call)
    }

    /// Computes [`RotaryEmbedding`], float `[batch, tokens, heads, head_dim]`.
    fn rotary_embedding(
        call: RotaryEmbedding<Self>,
    ) -> Result<Tensor<Self, 4>, RotaryEmbedding<Self>> {
        Err(call)
    }

    /// Computes [`RmsNormRotary`], float `[batch, tokens, heads, head_dim]`.
    fn rms_norm_rotary(call: RmsNormRotary<Self>) -> Result<Tensor<Self, 4>, RmsNormRotary<Self>> {
        Err(call)
    }

    /// Computes [`JointRmsNormRotary`]: a tensor for each joint sequence.
    fn joint_rms_norm_rotary(
        call: JointRmsNormRotary<'_, Self>,
    ) -> Result<Vec<Tensor<Self, 4>>, JointRmsNormRotary<'_, Self>> {
        Err(call)
    }

    /// Computes [`Attention`], float `[batch, tokens, heads, head_dim]`.
    fn scaled_attention(call: Attention<Self>) -> Result<Tensor<Self, 4>, Attention<Self>> {
        Err(call)
    }

    /// Computes [`JointAttention`]: what the tokens of either tensor see, in the shapes of the
    /// values.
    fn joint_attention(
        call: JointAttention<'_, Self>,
    ) -> Result<[Tensor<Self, 4>; 2], JointAttention<'_, Self>> {
        Err(call)
    }

    /// Computes [`NormedJointAttention`] on eight bits, `[rows, channels]` for the tokens of
    /// either tensor.
    ///
    /// Each 128 tokens of a head's queries and keys are quantized to 8-bit integers with one
    /// scale; its values, and the weights that multiply them, are quantized to E4M3 (after
    /// "SageAttention2", Zhang et al., 2024). E4M3 has three mantissa bits: between powers of two,
    /// weights follow a straight line, which is up to 6 % from the exponential where scores lie
    /// close together.
    fn quantized_joint_attention(
        call: NormedJointAttention<'_, Self>,
    ) -> Result<[Activations<Self>; 2], NormedJointAttention<'_, Self>> {
        Err(call)
    }

    /// Computes [`GeluTanh`], in the shape of its input.
    fn gelu_tanh<const D: usize>(
        call: GeluTanh<Self, D>,
    ) -> Result<Tensor<Self, D>, GeluTanh<Self, D>> {
        Err(call)
    }

    /// Computes [`SiluMul`], in the shape of its inputs.
    fn silu_mul<const D: usize>(
        call: SiluMul<Self, D>,
    ) -> Result<Tensor<Self, D>, SiluMul<Self, D>> {
        Err(call)
    }

    /// Computes [`Concatenate`].
    fn concatenate<const D: usize>(
        call: Concatenate<Self, D>,
    ) -> Result<Tensor<Self, D>, Concatenate<Self, D>> {
        Err(call)
    }

    /// Computes [`ChannelNorm`], float `[batch, channels, height, width]`.
    fn channel_norm(call: ChannelNorm<Self>) -> Result<Tensor<Self, 4>, ChannelNorm<Self>> {
        Err(call)
    }

    /// Computes [`ConvSame`], float `[batch, out, height, width]`.
    fn conv_same(call: ConvSame<Self>) -> Result<Tensor<Self, 4>, ConvSame<Self>> {
        Err(call)
    }

    /// Computes [`DenseLinear`], float `[rows, out]`.
    fn dense_linear(call: DenseLinear<Self>) -> Result<Tensor<Self, 2>, DenseLinear<Self>> {
        Err(call)
    }

    /// Computes [`PackedLinear`], float `[rows, out]`.
    fn packed_linear(call: PackedLinear<Self>) -> Result<Tensor<Self, 2>, PackedLinear<Self>> {
        Err(call)
    }

    /// Tells whether the device has tensor cores that multiply FP8 codes with activations of
    /// `dtype`, so that [`quantized_linear`](Self::quantized_linear) is faster than
    /// [`packed_linear`](Self::packed_linear).
    fn multiplies_fp8(device: &Self::Device, dtype: FloatDType) -> bool {
        let _ = (device, dtype);
        false
    }

    /// Computes [`QuantizeRows`].
    fn quantize_rows(call: QuantizeRows<Self>) -> Result<QuantizedRows<Self>, QuantizeRows<Self>> {
        Err(call)
    }

    /// Computes [`QuantizedLinear`], float `[rows, out]`. FP8 tensor cores may keep sums in less
    /// than f32.
    fn quantized_linear(
        call: QuantizedLinear<Self>,
    ) -> Result<Tensor<Self, 2>, QuantizedLinear<Self>> {
        Err(call)
    }

    /// Returns rows of [`quantize_rows`](Self::quantize_rows) as numbers of the format, in the
    /// dtype that they had, with scales f32 `[rows, 1]`. A backend that holds codes decodes them.
    fn decode_rows(rows: QuantizedRows<Self>) -> QuantizedRows<Self> {
        rows
    }

    /// Computes [`DenseRows`], `[n, in]`.
    fn dense_rows(call: DenseRows<Self>) -> Result<Tensor<Self, 2>, DenseRows<Self>> {
        Err(call)
    }

    /// Computes [`PackedRows`], `[n, in]`.
    fn packed_rows(call: PackedRows<Self>) -> Result<Tensor<Self, 2>, PackedRows<Self>> {
        Err(call)
    }

    /// Computes two results that need nothing of each other, which a GPU may do at the same time:
    /// it starts `long` on a side stream, and `short` on the main one at the same time.
    ///
    /// The GPU may start only when both closures have returned. Inside them, nothing but the
    /// operations of [`Weight`](crate::weight::Weight), [`fused`](crate::fused) and
    /// [`fp8`](crate::fp8) may compute with tensors, and views (a reshape, a part of a tensor):
    /// Burn's own operations would read results that are not there yet.
    fn concurrently<S, L>(short: impl FnOnce() -> S, long: impl FnOnce() -> L) -> (S, L) {
        (short(), long())
    }
}

/// Fills [`Kernels::burns_matmul`], [`Kernels::burns_attention`] and [`Kernels::burns_conv2d`] of a backend.
macro_rules! burns_products {
    () => {
        #[inline(never)]
        fn burns_matmul(
            left: burn::tensor::Tensor<Self, 2>,
            right: burn::tensor::Tensor<Self, 2>,
        ) -> burn::tensor::Tensor<Self, 2> {
            left.matmul(right)
        }

        #[inline(never)]
        fn burns_attention(
            [q, k, v]: [burn::tensor::Tensor<Self, 4>; 3],
            options: burn::tensor::ops::AttentionModuleOptions,
        ) -> burn::tensor::Tensor<Self, 4> {
            burn::tensor::module::attention(q, k, v, None, None, options)
        }

        #[inline(never)]
        fn burns_conv2d(
            x: burn::tensor::Tensor<Self, 4>,
            weight: burn::tensor::Tensor<Self, 4>,
            bias: burn::tensor::Tensor<Self, 1>,
            options: burn::tensor::ops::ConvOptions<2>,
        ) -> burn::tensor::Tensor<Self, 4> {
            burn::tensor::module::conv2d(x, weight, Some(bias), options)
        }
    };
}
pub(crate) use burns_products;
