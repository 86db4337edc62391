//! The backends of ROCm, Vulkan, Metal and WebGPU.

use burn::tensor::Tensor;

use super::linear;
use super::sink::CubeSink;
use crate::kernels::{DenseLinear, DenseRows, Kernels, PackedLinear, PackedRows, burns_products};
use crate::storage::{DeviceMemory, DeviceStorage, KernelSet};
use crate::upload::UploadError;

macro_rules! cube_backend {
    ($backend:ty, $runtime:ty) => {
        impl DeviceStorage for $backend {
            const HOST_MEMORY: bool = false;

            const KERNELS: KernelSet = KernelSet::Portable;

            const COPIES_BESIDE: bool = false;

            type Sink = CubeSink<$runtime>;

            fn sink(device: &Self::Device) -> Result<Self::Sink, UploadError> {
                Ok(Self::Sink::new(device))
            }

            fn memory(_device: &Self::Device) -> Option<DeviceMemory> {
                None
            }
        }

        impl Kernels for $backend {
            burns_products!();

            fn packed_linear(
                call: PackedLinear<Self>,
            ) -> Result<Tensor<Self, 2>, PackedLinear<Self>> {
                Ok(linear::packed_linear(call))
            }

            fn dense_linear(call: DenseLinear<Self>) -> Result<Tensor<Self, 2>, DenseLinear<Self>> {
                linear::dense_linear(call)
            }

            fn packed_rows(call: PackedRows<Self>) -> Result<Tensor<Self, 2>, PackedRows<Self>> {
                Ok(linear::packed_rows(call))
            }

            fn dense_rows(call: DenseRows<Self>) -> Result<Tensor<Self, 2>, DenseRows<Self>> {
                linear::dense_rows(call)
            }
        }
    };
}

#[cfg(feature = "rocm")]
cube_backend!(burn_rocm::Rocm, burn_cubecl::cubecl::hip::HipRuntime);
#[cfg(feature = "wgpu")]
cube_backend!(burn_wgpu::Wgpu, burn_cubecl::cubecl::wgpu::WgpuRuntime);
