//! Where tensors live.
//!
//! This crate chooses a device, says how much memory it has, stores model weights on it in the
//! format of their file (FP8 stays FP8) and multiplies with them. It knows nothing of Qwen-Image.
//!
//! Everything above it is generic over [`ModelBackend`]; [`dispatch()`] turns a run-time choice of
//! device into a concrete Burn backend.

pub mod device;
pub mod dispatch;
pub mod fp8;
pub mod fused;
pub mod host_memory;
pub mod kernels;
pub mod low_rank;
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
pub use fp8::{
    Arithmetic, Chain, ChainCall, Fp8Format, Layer, LayerWeight, NormCall, Output, StreamCall,
    StreamResult, Update, WeightFormat,
};
pub use kernels::{Activation, Activations, Kernels, RoundedRows};
pub use low_rank::LowRank;
pub use storage::{DeviceMemory, DeviceStorage, KernelSet, ModelBackend};
pub use upload::{DeviceSink, NullSink, TensorSink, UploadError};
pub use weight::{Fp8Weight, Weight};
pub use working_memory::{Numerics, RunningKernels};
