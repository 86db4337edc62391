//! Burn's CUDA backend with our kernels. An operation is handed back where they do not know its
//! shapes or its dtype.
//!
//! Linear layers and layer norms may be noted down (see [`concurrent`]); every other operation
//! runs at once.

mod attention;
mod attention_quantized;
mod concatenate;
mod conv;
mod fused;
mod layer_norm;
mod linear;
mod linear_quantized;
mod quantize;
mod rotary;

use burn::tensor::{FloatDType, Tensor};
use burn_cuda::Cuda;

use crate::cuda::concurrent;
use crate::cuda::concurrent::{at_once, handed_back};
use crate::kernels::{
    Activations, Attention, ChannelNorm, Concatenate, ConvSame, DenseLinear, GatedAdd, GeluTanh,
    JointAttention, JointRmsNormRotary, Kernels, LayerNorm, Normed, NormedJointAttention,
    PackedLinear, QuantizeRows, QuantizedLinear, QuantizedRows, RmsNorm, RmsNormRotary,
    RotaryEmbedding, SiluMul, burns_products,
};

impl Kernels for Cuda {
    burns_products!();

    fn layer_norm(call: LayerNorm<Self>) -> Result<Normed<Self>, LayerNorm<Self>> {
        layer_norm::layer_norm(call).map_err(handed_back)
    }

    fn gated_add(call: GatedAdd<Self>) -> Result<Tensor<Self, 3>, GatedAdd<Self>> {
        at_once(|| fused::gated_add(call))
    }

    fn rms_norm<const D: usize>(
        call: RmsNorm<Self, D>,
    ) -> Result<Tensor<Self, D>, RmsNorm<Self, D>> {
        at_once(|| fused::rms_norm(call))
    }

    fn rotary_embedding(
        call: RotaryEmbedding<Self>,
    ) -> Result<Tensor<Self, 4>, RotaryEmbedding<Self>> {
        at_once(|| rotary::rotary_embedding(call))
    }

    fn rms_norm_rotary(call: RmsNormRotary<Self>) -> Result<Tensor<Self, 4>, RmsNormRotary<Self>> {
        at_once(|| rotary::rms_norm_rotary(call))
    }

    fn joint_rms_norm_rotary(
        call: JointRmsNormRotary<'_, Self>,
    ) -> Result<Vec<Tensor<Self, 4>>, JointRmsNormRotary<'_, Self>> {
        at_once(|| rotary::joint_rms_norm_rotary(call))
    }

    fn scaled_attention(call: Attention<Self>) -> Result<Tensor<Self, 4>, Attention<Self>> {
        at_once(|| attention::attention(call))
    }

    fn joint_attention(
        call: JointAttention<'_, Self>,
    ) -> Result<[Tensor<Self, 4>; 2], JointAttention<'_, Self>> {
        at_once(|| attention::joint_attention(call))
    }

    fn quantized_joint_attention(
        call: NormedJointAttention<'_, Self>,
    ) -> Result<[Activations<Self>; 2], NormedJointAttention<'_, Self>> {
        at_once(|| attention_quantized::joint_attention(call))
    }

    fn gelu_tanh<const D: usize>(
        call: GeluTanh<Self, D>,
    ) -> Result<Tensor<Self, D>, GeluTanh<Self, D>> {
        at_once(|| fused::gelu_tanh(call))
    }

    fn silu_mul<const D: usize>(
        call: SiluMul<Self, D>,
    ) -> Result<Tensor<Self, D>, SiluMul<Self, D>> {
        at_once(|| fused::silu_mul(call))
    }

    fn concatenate<const D: usize>(
        call: Concatenate<Self, D>,
    ) -> Result<Tensor<Self, D>, Concatenate<Self, D>> {
        at_once(|| concatenate::concatenate(call))
    }

    fn channel_norm(call: ChannelNorm<Self>) -> Result<Tensor<Self, 4>, ChannelNorm<Self>> {
        at_once(|| fused::channel_norm(call))
    }

    fn conv_same(call: ConvSame<Self>) -> Result<Tensor<Self, 4>, ConvSame<Self>> {
        at_once(|| conv::conv_same(call))
    }

    fn dense_linear(call: DenseLinear<Self>) -> Result<Tensor<Self, 2>, DenseLinear<Self>> {
        linear::dense_linear(call).map_err(handed_back)
    }

    fn packed_linear(call: PackedLinear<Self>) -> Result<Tensor<Self, 2>, PackedLinear<Self>> {
        linear::packed_linear(call).map_err(handed_back)
    }

    fn multiplies_fp8(device: &Self::Device, dtype: FloatDType) -> bool {
        linear_quantized::is_possible(device, dtype)
    }

    fn quantize_rows(call: QuantizeRows<Self>) -> Result<QuantizedRows<Self>, QuantizeRows<Self>> {
        quantize::quantize_rows(call).map_err(handed_back)
    }

    fn quantized_linear(
        call: QuantizedLinear<Self>,
    ) -> Result<Tensor<Self, 2>, QuantizedLinear<Self>> {
        linear_quantized::quantized_linear(call).map_err(handed_back)
    }

    fn decode_rows(rows: QuantizedRows<Self>) -> QuantizedRows<Self> {
        quantize::decode_rows(handed_back(rows))
    }

    fn concurrently<S, L>(short: impl FnOnce() -> S, long: impl FnOnce() -> L) -> (S, L) {
        concurrent::concurrently(short, long)
    }
}
