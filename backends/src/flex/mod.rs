//! The processor, through Burn's Flex backend: kernels of our own in vector lanes, on all cores.

mod attention;
mod channel_norm;
mod conv;
mod decode;
mod linear;
#[cfg(target_arch = "x86_64")]
mod narrow;
mod rows;
mod sink;
mod tensor;
mod vector_math;

use burn::tensor::Tensor;
use burn_flex::Flex;

use crate::kernels::{
    Activations, Attention, ChannelNorm, ConvSame, DenseLinear, GatedAdd, GeluTanh, Kernels,
    LayerNorm, Normed, PackedLinear, RmsNorm, RmsNormRotary, RotaryEmbedding, SiluMul,
    burns_products,
};
use crate::storage::{DeviceMemory, DeviceStorage, KernelSet};
use crate::upload::UploadError;

impl DeviceStorage for Flex {
    const HOST_MEMORY: bool = true;

    const KERNELS: KernelSet = KernelSet::Processor;

    const COPIES_BESIDE: bool = false;

    type Sink = sink::HostSink;

    fn sink(_device: &Self::Device) -> Result<Self::Sink, UploadError> {
        Ok(Self::Sink::new())
    }

    fn memory(_device: &Self::Device) -> Option<DeviceMemory> {
        None
    }
}

/// The kernels take every shape and every float dtype.
impl Kernels for Flex {
    burns_products!();

    fn layer_norm(call: LayerNorm<Self>) -> Result<Normed<Self>, LayerNorm<Self>> {
        match call {
            LayerNorm {
                update: None,
                quantize: false,
                ..
            } => Ok(Normed {
                sum: call.x.clone(),
                y: Activations::of(rows::layer_norm(call)),
            }),
            _ => Err(call),
        }
    }

    fn gated_add(call: GatedAdd<Self>) -> Result<Tensor<Self, 3>, GatedAdd<Self>> {
        Ok(rows::gated_add(call))
    }

    fn rms_norm<const D: usize>(
        call: RmsNorm<Self, D>,
    ) -> Result<Tensor<Self, D>, RmsNorm<Self, D>> {
        Ok(rows::rms_norm(call))
    }

    fn rotary_embedding(
        call: RotaryEmbedding<Self>,
    ) -> Result<Tensor<Self, 4>, RotaryEmbedding<Self>> {
        Ok(rows::rotary_embedding(call))
    }

    fn rms_norm_rotary(call: RmsNormRotary<Self>) -> Result<Tensor<Self, 4>, RmsNormRotary<Self>> {
        Ok(rows::rms_norm_rotary(call))
    }

    fn scaled_attention(call: Attention<Self>) -> Result<Tensor<Self, 4>, Attention<Self>> {
        Ok(attention::attention(call))
    }

    fn gelu_tanh<const D: usize>(
        call: GeluTanh<Self, D>,
    ) -> Result<Tensor<Self, D>, GeluTanh<Self, D>> {
        Ok(tensor::typed(rows::gelu_tanh(tensor::raw(call.x))))
    }

    fn silu_mul<const D: usize>(
        call: SiluMul<Self, D>,
    ) -> Result<Tensor<Self, D>, SiluMul<Self, D>> {
        Ok(rows::silu_mul(call))
    }

    fn channel_norm(call: ChannelNorm<Self>) -> Result<Tensor<Self, 4>, ChannelNorm<Self>> {
        Ok(channel_norm::channel_norm(call))
    }

    fn conv_same(call: ConvSame<Self>) -> Result<Tensor<Self, 4>, ConvSame<Self>> {
        Ok(conv::conv_same(call))
    }

    fn dense_linear(call: DenseLinear<Self>) -> Result<Tensor<Self, 2>, DenseLinear<Self>> {
        Ok(linear::dense_linear(call))
    }

    fn packed_linear(call: PackedLinear<Self>) -> Result<Tensor<Self, 2>, PackedLinear<Self>> {
        Ok(linear::packed_linear(call))
    }
}
