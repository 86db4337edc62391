//! Backends, their devices, and why a device cannot be used.

use std::fmt;
use std::str::FromStr;

/// The name of a device that is no GPU though a graphics interface lends it.
pub(crate) const SOFTWARE_RENDERER: &str = "software renderer";

/// A Burn backend that the program knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BackendKind {
    /// NVIDIA GPUs.
    Cuda,
    /// AMD GPUs.
    Rocm,
    /// Apple GPUs.
    Metal,
    /// GPUs through Vulkan (SPIR-V).
    Vulkan,
    /// GPUs through WebGPU's shading language.
    WebGpu,
    /// The processor.
    Flex,
}

impl BackendKind {
    /// Every backend, in the order in which `auto` tries them.
    pub const ALL: [Self; 6] = [
        Self::Cuda,
        Self::Rocm,
        Self::Metal,
        Self::Vulkan,
        Self::WebGpu,
        Self::Flex,
    ];

    /// The name that users choose it by; also the name of the cargo feature.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Cuda => "cuda",
            Self::Rocm => "rocm",
            Self::Metal => "metal",
            Self::Vulkan => "vulkan",
            Self::WebGpu => "webgpu",
            Self::Flex => "flex",
        }
    }

    /// Tells whether this program was built with it.
    pub const fn compiled_in(self) -> bool {
        match self {
            Self::Cuda => cfg!(feature = "cuda"),
            Self::Rocm => cfg!(feature = "rocm"),
            Self::Metal => cfg!(feature = "metal"),
            Self::Vulkan => cfg!(feature = "vulkan"),
            Self::WebGpu => cfg!(feature = "webgpu"),
            Self::Flex => cfg!(feature = "flex"),
        }
    }
}

impl fmt::Display for BackendKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for BackendKind {
    type Err = DeviceError;

    fn from_str(name: &str) -> Result<Self, DeviceError> {
        Self::ALL
            .into_iter()
            .find(|kind| kind.name() == name)
            .or((name == "cpu").then_some(Self::Flex))
            .ok_or_else(|| DeviceError::UnknownBackend(name.chars().take(40).collect()))
    }
}

/// One device of one backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeviceChoice {
    /// The backend that drives it.
    pub kind: BackendKind,
    /// Its number among the backend's devices.
    pub index: usize,
}

/// A device that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundDevice {
    /// Its number among the devices of its backend.
    pub index: usize,
    /// The name that its driver gives.
    pub name: String,
    /// Installed memory in bytes, where the driver tells.
    pub memory: Option<u64>,
}

/// A library that a backend cannot do without.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Library {
    /// The CUDA driver.
    CudaDriver,
    /// The CUDA run-time compiler.
    CudaCompiler,
    /// The headers that Burn's CUDA kernels are compiled with.
    CudaHeaders,
    /// The driver of a GPU behind a portable interface.
    GpuDriver,
}

impl Library {
    /// The way to get it.
    pub const fn remedy(self) -> &'static str {
        match self {
            Self::CudaDriver => "install the NVIDIA driver",
            Self::CudaCompiler => "install the CUDA toolkit (12.8 or later)",
            Self::CudaHeaders => "install the CUDA toolkit and set CUDA_PATH to its folder",
            Self::GpuDriver => "install the GPU's driver",
        }
    }
}

impl fmt::Display for Library {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::CudaDriver => "the CUDA driver (libcuda)",
            Self::CudaCompiler => "the CUDA run-time compiler (libnvrtc)",
            Self::CudaHeaders => "the CUDA headers (include/cuda_fp16.h)",
            Self::GpuDriver => "the driver",
        })
    }
}

/// The reasons why a device cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DeviceError {
    /// The name is none of ours.
    #[error(
        "unknown backend '{0}': choose auto, cuda, rocm, metal, vulkan, webgpu or flex (the processor)"
    )]
    UnknownBackend(String),
    /// The program was built without it.
    #[error("backend '{0}' is not compiled in")]
    NotCompiledIn(BackendKind),
    /// A library is missing.
    #[error("backend '{kind}': {library} not found: {}", library.remedy())]
    MissingLibrary {
        /// The backend.
        kind: BackendKind,
        /// The library.
        library: Library,
    },
    /// The driver is there and reports a failure.
    #[error("backend '{kind}': the driver answers: {message}")]
    Driver {
        /// The backend.
        kind: BackendKind,
        /// The driver's words.
        message: String,
    },
    /// The driver answers and has no device.
    #[error("backend '{0}': no device found")]
    NoDevice(BackendKind),
    /// There are devices, but fewer than asked for.
    #[error("backend '{kind}' has no device {index}: it has {count}, counted from 0")]
    NoSuchDevice {
        /// The backend.
        kind: BackendKind,
        /// The number asked for.
        index: usize,
        /// The number of devices.
        count: usize,
    },
    /// No compiled-in backend has a device.
    #[error("no backend of this build has a device")]
    Nothing,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip() {
        for kind in BackendKind::ALL {
            assert_eq!(kind.name().parse(), Ok(kind));
        }
        assert_eq!("cpu".parse(), Ok(BackendKind::Flex));
        assert!(matches!(
            "gpu".parse::<BackendKind>(),
            Err(DeviceError::UnknownBackend(_))
        ));
    }
}
