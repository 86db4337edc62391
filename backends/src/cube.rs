//! ROCm, Vulkan, Metal and WebGPU: the portable bodies of all operations.

use crate::fp8::Fp8Ops;
use crate::fused::FusedOps;

#[cfg(feature = "rocm")]
impl Fp8Ops for burn_rocm::Rocm {}
#[cfg(feature = "rocm")]
impl FusedOps for burn_rocm::Rocm {}

#[cfg(feature = "wgpu")]
impl Fp8Ops for burn_wgpu::Wgpu {}
#[cfg(feature = "wgpu")]
impl FusedOps for burn_wgpu::Wgpu {}
