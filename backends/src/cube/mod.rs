//! Devices behind CubeCL. ROCm, Vulkan, Metal and WebGPU compute with the portable bodies, except
//! on weights in formats that not every GPU has a type for; CUDA shares their memory and their
//! cache of kernels.

pub(crate) mod kernel_cache;
pub(crate) mod memory;

#[cfg(any(feature = "rocm", feature = "wgpu"))]
mod decode;
#[cfg(any(feature = "rocm", feature = "wgpu"))]
mod linear;
#[cfg(any(feature = "rocm", feature = "wgpu"))]
mod ops;
#[cfg(any(feature = "rocm", feature = "wgpu"))]
pub(crate) mod probe;
#[cfg(any(feature = "rocm", feature = "wgpu"))]
mod sink;
