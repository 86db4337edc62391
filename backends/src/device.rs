//! Which device to run on: what is compiled in, what is there, what the user asked for.

use std::fmt;
use std::str::FromStr;

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

    /// The name on the command line; also the name of the cargo feature.
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

    /// Whether this program was built with it.
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
    /// Its number, for `--device`.
    pub index: usize,
    /// The name that its driver gives.
    pub name: String,
    /// Installed memory in bytes, where the driver tells.
    pub memory: Option<u64>,
}

/// What is known of a backend on this machine.
#[derive(Clone, Debug)]
pub struct BackendReport {
    /// The backend.
    pub kind: BackendKind,
    /// Whether this program was built with it.
    pub compiled_in: bool,
    /// Its devices, or why there are none.
    pub devices: Result<Vec<FoundDevice>, DeviceError>,
}

/// Why a device cannot be used. Each message says what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DeviceError {
    /// The name is none of ours.
    #[error(
        "unknown backend '{0}': choose auto, cuda, rocm, metal, vulkan, webgpu or flex (the processor)"
    )]
    UnknownBackend(String),
    /// The program was built without it.
    #[error("backend '{0}' is not compiled in: build with `--features {0}`")]
    NotCompiledIn(BackendKind),
    /// The driver library is missing.
    #[error("backend '{kind}': {library} not found: {advice}")]
    MissingLibrary {
        /// The backend.
        kind: BackendKind,
        /// What was looked for.
        library: &'static str,
        /// What to install or set.
        advice: &'static str,
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
        /// How many there are.
        count: usize,
    },
    /// No compiled-in backend has a device.
    #[error(
        "no backend of this build has a device: build with `--features flex` for the processor"
    )]
    Nothing,
}

/// The devices of one backend.
pub fn probe(kind: BackendKind) -> Result<Vec<FoundDevice>, DeviceError> {
    if !kind.compiled_in() {
        return Err(DeviceError::NotCompiledIn(kind));
    }
    match kind {
        BackendKind::Flex => Ok(vec![FoundDevice {
            index: 0,
            name: format!(
                "processor, {} threads",
                std::thread::available_parallelism().map_or(1, usize::from)
            ),
            memory: None,
        }]),
        #[cfg(feature = "cuda")]
        BackendKind::Cuda => crate::cuda::probe::devices(),
        #[cfg(any(feature = "rocm", feature = "wgpu"))]
        _ => crate::gpu_probe::devices(kind),
        #[cfg(not(any(feature = "rocm", feature = "wgpu")))]
        _ => Err(DeviceError::NotCompiledIn(kind)),
    }
}

/// Every backend and what is known of it here.
pub fn list() -> Vec<BackendReport> {
    BackendKind::ALL
        .into_iter()
        .map(|kind| BackendReport {
            kind,
            compiled_in: kind.compiled_in(),
            devices: probe(kind),
        })
        .collect()
}

/// The device that the user means by `backend` (`auto` or a name) and an optional index.
///
/// `auto` takes the first backend of [`BackendKind::ALL`] that is compiled in and has a device.
pub fn choose(backend: &str, index: Option<usize>) -> Result<DeviceChoice, DeviceError> {
    let index_or_first = index.unwrap_or(0);
    let kinds = match backend {
        "auto" => BackendKind::ALL.to_vec(),
        name => vec![name.parse()?],
    };
    let mut failure = DeviceError::Nothing;
    for kind in kinds {
        match probe(kind) {
            Ok(devices) if devices.is_empty() => failure = DeviceError::NoDevice(kind),
            Ok(devices) if index_or_first < devices.len() => {
                return Ok(DeviceChoice {
                    kind,
                    index: index_or_first,
                });
            }
            Ok(devices) => {
                return Err(DeviceError::NoSuchDevice {
                    kind,
                    index: index_or_first,
                    count: devices.len(),
                });
            }
            Err(_) if backend == "auto" => {}
            Err(error) => failure = error,
        }
    }
    Err(failure)
}

/// What the user loses with this choice: a GPU that is there, but whose backend is not compiled
/// in. One line of advice, or `None`.
pub fn missed_gpu(choice: &DeviceChoice) -> Option<String> {
    if choice.kind != BackendKind::Flex || BackendKind::Cuda.compiled_in() {
        return None;
    }
    let nvidia = std::path::Path::new("/proc/driver/nvidia/version").exists();
    nvidia.then(|| {
        "an NVIDIA GPU is here, but this build runs on the processor: build with `--features cuda`"
            .into()
    })
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

    #[test]
    #[cfg(feature = "flex")]
    fn auto_always_finds_the_processor() {
        assert!(choose("auto", None).is_ok());
        assert_eq!(
            choose("flex", Some(3)),
            Err(DeviceError::NoSuchDevice {
                kind: BackendKind::Flex,
                index: 3,
                count: 1
            })
        );
    }

    #[test]
    #[cfg(not(feature = "rocm"))]
    fn a_backend_left_out_of_the_build_names_its_feature() {
        let error = choose("rocm", None).expect_err("not compiled in");
        assert!(error.to_string().contains("--features rocm"));
    }
}
