//! Devices, model weights in their memory, and the kernels that compute with them.
//!
//! The crate chooses a device and says how much memory it has ([`device`]), takes the bytes of
//! files to it ([`upload`]), stores weights in the format of their file (FP8 stays FP8,
//! [`weight`]) and computes linear layers, attention, norms and rotary embeddings with them
//! ([`fused`]). It knows nothing of Qwen-Image.
//!
//! Code above it is generic over [`ModelBackend`]; [`dispatch()`] turns a run-time choice of device
//! into a concrete Burn backend. What a backend has kernels for stands in its `impl` of
//! [`Kernels`]; every other operation runs as a composition of Burn's own. There is a folder for
//! each backend: `flex` (the processor), `cuda` (NVIDIA GPUs) and `cube` (ROCm, Vulkan, Metal and
//! WebGPU).
//!
//! ```
//! use backends::{ModelBackend, OnBackend, choose, dispatch, fused};
//! use burn::tensor::Tensor;
//!
//! /// Normalises a vector.
//! struct Normalise([f32; 2]);
//!
//! impl OnBackend for Normalise {
//!     type Output = Vec<f32>;
//!
//!     fn run<B: ModelBackend>(self, device: B::Device) -> Vec<f32> {
//!         let x = Tensor::<B, 2>::from_floats([self.0], &device);
//!         let weight = Tensor::<B, 1>::from_floats([1.0, 1.0], &device);
//!         fused::rms_norm(x, weight, 1e-6).into_data().iter().collect()
//!     }
//! }
//!
//! # fn main() -> Result<(), backends::DeviceError> {
//! let device = choose("flex", None)?;
//! let y = dispatch(&device, Normalise([7.0, -1.0]))?;
//! assert!((y[0] - 1.4).abs() < 1e-6 && (y[1] + 0.2).abs() < 1e-6);
//! # Ok(())
//! # }
//! ```

pub mod device;
pub mod dispatch;
pub mod fp8;
pub mod fused;
pub mod host_memory;
pub mod kernels;
pub mod low_rank;
pub mod parameters;
pub mod storage;
pub mod upload;
pub mod weight;
pub mod working_memory;

#[cfg(feature = "cubecl")]
mod cube;
#[cfg(feature = "cuda")]
mod cuda;
#[cfg(feature = "flex")]
mod flex;
#[cfg(all(test, feature = "flex"))]
mod test_random;

pub use device::{
    BackendKind, BackendReport, DeviceChoice, DeviceError, GpuSign, Selection, Surroundings,
    choose, gpu_signs, list, select,
};
pub use dispatch::{OnBackend, dispatch};
pub use fp8::{Arithmetic, Fp8Format};
pub use kernels::{Activation, Activations, Epilogue, Kernels, QuantizedRows};
pub use low_rank::LowRank;
pub use parameters::{ParameterNames, TensorPart, UnfilledModule};
pub use storage::{DeviceMemory, DeviceStorage, KernelSet, ModelBackend};
pub use upload::{DeviceSink, NullSink, SlotSink, Slots, TensorSink, UploadError};
pub use weight::{PackedFormat, PackedWeight, Weight, WeightFormat};
pub use working_memory::{Numerics, RunningKernels};
