//! Burn's CUDA backend with our kernels. An operation is handed back where they do not know its
//! shapes or its dtype.

use burn::tensor::{FloatDType, Tensor};
use burn_cuda::Cuda;

use super::{
    attention, attention_quantized, concatenate, conv, fused, layer_norm, linear, linear_quantized,
    quantize, rotary, streams,
};
use crate::fp8::{StreamCall, StreamResult};
use crate::kernels::{
    Activations, Attention, ChannelNorm, Concatenate, ConvSame, DenseLinear, Fp8Linear, GatedAdd,
    GatedAddLayerNorm, GeluTanh, JointAttention, JointRmsNormRotary, Kernels, ModulatedLayerNorm,
    NormedJointAttention, QuantizeRows, QuantizedLinear, QuantizedRows, RmsNorm, RmsNormRotary,
    RotaryEmbedding, SiluMul, burns_products,
};

impl Kernels for Cuda {
    burns_products!();

    fn modulated_layer_norm(
        call: ModulatedLayerNorm<Self>,
    ) -> Result<Tensor<Self, 3>, ModulatedLayerNorm<Self>> {
        layer_norm::modulated_layer_norm(call)
    }

    fn gated_add_layer_norm(
        call: GatedAddLayerNorm<Self>,
    ) -> Result<[Tensor<Self, 3>; 2], GatedAddLayerNorm<Self>> {
        layer_norm::gated_add_layer_norm(call)
    }

    fn gated_add(call: GatedAdd<Self>) -> Result<Tensor<Self, 3>, GatedAdd<Self>> {
        fused::gated_add(call)
    }

    fn rms_norm<const D: usize>(
        call: RmsNorm<Self, D>,
    ) -> Result<Tensor<Self, D>, RmsNorm<Self, D>> {
        fused::rms_norm(call)
    }

    fn rotary_embedding(
        call: RotaryEmbedding<Self>,
    ) -> Result<Tensor<Self, 4>, RotaryEmbedding<Self>> {
        rotary::rotary_embedding(call)
    }

    fn rms_norm_rotary(call: RmsNormRotary<Self>) -> Result<Tensor<Self, 4>, RmsNormRotary<Self>> {
        rotary::rms_norm_rotary(call)
    }

    fn joint_rms_norm_rotary(
        call: JointRmsNormRotary<'_, Self>,
    ) -> Result<Vec<Tensor<Self, 4>>, JointRmsNormRotary<'_, Self>> {
        rotary::joint_rms_norm_rotary(call)
    }

    fn scaled_attention(call: Attention<Self>) -> Result<Tensor<Self, 4>, Attention<Self>> {
        attention::attention(call)
    }

    fn joint_attention(
        call: JointAttention<'_, Self>,
    ) -> Result<[Tensor<Self, 4>; 2], JointAttention<'_, Self>> {
        attention::joint_attention(call)
    }

    fn quantized_joint_attention(
        call: NormedJointAttention<'_, Self>,
    ) -> Result<[Activations<Self>; 2], NormedJointAttention<'_, Self>> {
        attention_quantized::joint_attention(call)
    }

    fn gelu_tanh<const D: usize>(
        call: GeluTanh<Self, D>,
    ) -> Result<Tensor<Self, D>, GeluTanh<Self, D>> {
        fused::gelu_tanh(call)
    }

    fn silu_mul<const D: usize>(
        call: SiluMul<Self, D>,
    ) -> Result<Tensor<Self, D>, SiluMul<Self, D>> {
        fused::silu_mul(call)
    }

    fn concatenate<const D: usize>(
        call: Concatenate<Self, D>,
    ) -> Result<Tensor<Self, D>, Concatenate<Self, D>> {
        concatenate::concatenate(call)
    }

    fn channel_norm(call: ChannelNorm<Self>) -> Result<Tensor<Self, 4>, ChannelNorm<Self>> {
        fused::channel_norm(call)
    }

    fn conv_same(call: ConvSame<Self>) -> Result<Tensor<Self, 4>, ConvSame<Self>> {
        conv::conv_same(call)
    }

    fn dense_linear(call: DenseLinear<Self>) -> Result<Tensor<Self, 2>, DenseLinear<Self>> {
        linear::dense_linear(call)
    }

    fn fp8_linear(call: Fp8Linear<Self>) -> Result<Tensor<Self, 2>, Fp8Linear<Self>> {
        linear::fp8_linear(call)
    }

    fn multiplies_fp8(device: &Self::Device, dtype: FloatDType) -> bool {
        linear_quantized::is_possible(device, dtype)
    }

    fn quantize_rows(call: QuantizeRows<Self>) -> Result<QuantizedRows<Self>, QuantizeRows<Self>> {
        quantize::quantize_rows(call)
    }

    fn quantized_linear(
        call: QuantizedLinear<Self>,
    ) -> Result<Tensor<Self, 2>, QuantizedLinear<Self>> {
        linear_quantized::quantized_linear(call)
    }

    fn streams<const N: usize>(
        calls: [StreamCall<Self, N>; 2],
    ) -> Result<[StreamResult<Self, N>; 2], [StreamCall<Self, N>; 2]> {
        streams::streams(calls)
    }
}
