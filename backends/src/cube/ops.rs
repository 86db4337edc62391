//! The backends of ROCm, Vulkan, Metal and WebGPU.

use burn::tensor::FloatDType;
use burn::tensor::ops::{FloatTensor, IntTensor};

use super::linear;
use super::sink::CubeSink;
use crate::fp8::{Epilogue, Fp8Format, Fp8Ops};
use crate::fused::FusedOps;
use crate::storage::{DeviceMemory, DeviceStorage, KernelSet};
use crate::upload::UploadError;

macro_rules! cube_backend {
    ($backend:ty, $runtime:ty) => {
        impl DeviceStorage for $backend {
            const HOST_MEMORY: bool = false;

            const KERNELS: KernelSet = KernelSet::Portable;

            type Sink = CubeSink<$runtime>;

            fn sink(device: &Self::Device) -> Result<Self::Sink, UploadError> {
                Ok(Self::Sink::new(device))
            }

            fn memory(_device: &Self::Device) -> Option<DeviceMemory> {
                None
            }
        }

        impl FusedOps for $backend {}

        impl Fp8Ops for $backend {
            fn fp8_linear(
                x: FloatTensor<Self>,
                weight: IntTensor<Self>,
                scale: FloatTensor<Self>,
                format: Fp8Format,
                epilogue: Epilogue<Self>,
            ) -> FloatTensor<Self> {
                linear::fp8_linear::<Self, _>(x, weight, scale, format, epilogue)
            }

            fn dense_linear(
                x: FloatTensor<Self>,
                weight: FloatTensor<Self>,
                epilogue: Epilogue<Self>,
            ) -> FloatTensor<Self> {
                linear::dense_linear::<Self, _>(x, weight, epilogue)
            }

            fn fp8_rows(
                weight: IntTensor<Self>,
                scale: FloatTensor<Self>,
                indices: IntTensor<Self>,
                format: Fp8Format,
                dtype: FloatDType,
            ) -> FloatTensor<Self> {
                linear::fp8_rows::<Self, _>(weight, scale, indices, format, dtype)
            }

            fn dense_rows(
                weight: FloatTensor<Self>,
                indices: IntTensor<Self>,
                dtype: FloatDType,
            ) -> FloatTensor<Self> {
                linear::dense_rows::<Self, _>(weight, indices, dtype)
            }
        }
    };
}

#[cfg(feature = "rocm")]
cube_backend!(burn_rocm::Rocm, burn_cubecl::cubecl::hip::HipRuntime);
#[cfg(feature = "wgpu")]
cube_backend!(burn_wgpu::Wgpu, burn_cubecl::cubecl::wgpu::WgpuRuntime);
