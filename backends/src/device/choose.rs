//! Which device to run on: what is there, and what the user asked for.

use super::kind::{BackendKind, DeviceChoice, DeviceError, FoundDevice, SOFTWARE_RENDERER};
use super::signs::GpuSign;

/// A backend and its devices on this machine.
#[derive(Clone, Debug)]
pub struct BackendReport {
    /// The backend.
    pub kind: BackendKind,
    /// True if this program was built with it.
    pub compiled_in: bool,
    /// Its devices, or why there are none.
    pub devices: Result<Vec<FoundDevice>, DeviceError>,
}

/// Asks for the devices of one backend.
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
        _ => crate::cube::probe::devices(kind),
        #[cfg(not(any(feature = "rocm", feature = "wgpu")))]
        _ => Err(DeviceError::NotCompiledIn(kind)),
    }
}

/// Lists every backend with its devices here.
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

/// A device that was chosen, and what was tried before it.
#[derive(Clone, Debug)]
pub struct Selection {
    /// The device.
    pub device: DeviceChoice,
    /// The name that its driver gives.
    pub name: String,
    /// The backends that were passed over, in the order in which they were tried, and why. Empty
    /// where the user named one.
    pub passed_over: Vec<(BackendKind, DeviceError)>,
}

/// A GPU that seems to be there and is not used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MissedGpu {
    /// The sign of it.
    pub sign: GpuSign,
    /// The reason why it is not used.
    pub reason: DeviceError,
}

impl Selection {
    /// Lists the GPUs with `signs` that this choice leaves unused, or uses without the backend that
    /// is made for them though this program has it.
    pub fn missed(&self, signs: Vec<GpuSign>) -> Vec<MissedGpu> {
        let on_processor = self.device.kind == BackendKind::Flex || self.name == SOFTWARE_RENDERER;
        let reason_of = |wanted: BackendKind| {
            let mut passed_over = self.passed_over.iter();
            let (_, reason) = passed_over.find(|(kind, _)| *kind == wanted)?;
            Some(reason.clone())
        };
        let missed = |sign: GpuSign| {
            let made_for_it = sign.vendor.backend();
            let reason = reason_of(made_for_it)?;
            let there = reason != DeviceError::NotCompiledIn(made_for_it);
            let portable = [BackendKind::Vulkan, BackendKind::WebGpu];
            let mut portable = portable.into_iter().filter(|kind| kind.compiled_in());
            let reason = match portable.find_map(reason_of) {
                Some(portable) if !there => portable,
                _ => reason,
            };
            (on_processor || there).then_some(MissedGpu { sign, reason })
        };
        signs.into_iter().filter_map(missed).collect()
    }
}

/// Chooses the device that the user means by `backend` (`auto` or a name) and an optional index.
///
/// `auto` takes the first backend of [`BackendKind::ALL`] that is compiled in and has a device.
pub fn choose(backend: &str, index: Option<usize>) -> Result<DeviceChoice, DeviceError> {
    Ok(select(backend, index)?.device)
}

/// Does the same as [`choose`], and says what was tried.
pub fn select(backend: &str, index: Option<usize>) -> Result<Selection, DeviceError> {
    let auto = backend == "auto";
    let kinds = if auto {
        BackendKind::ALL.to_vec()
    } else {
        vec![backend.parse()?]
    };
    let mut passed_over = Vec::new();
    for kind in kinds {
        let index = index.unwrap_or(0);
        let failure = match probe(kind) {
            Ok(devices) if devices.is_empty() => DeviceError::NoDevice(kind),
            Ok(devices) => {
                let count = devices.len();
                let Some(found) = devices.into_iter().nth(index) else {
                    return Err(DeviceError::NoSuchDevice { kind, index, count });
                };
                return Ok(Selection {
                    device: DeviceChoice { kind, index },
                    name: found.name,
                    passed_over,
                });
            }
            Err(error) => error,
        };
        if !auto {
            return Err(failure);
        }
        passed_over.push((kind, failure));
    }
    Err(DeviceError::Nothing)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::signs::GpuVendor;

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
    fn a_backend_left_out_of_the_build_is_no_choice() {
        let missing = DeviceError::NotCompiledIn(BackendKind::Rocm);
        assert_eq!(choose("rocm", None), Err(missing));
    }

    fn selection(kind: BackendKind, name: &str, passed_over: &[DeviceError]) -> Selection {
        let kinds = BackendKind::ALL.into_iter();
        Selection {
            device: DeviceChoice { kind, index: 0 },
            name: name.to_owned(),
            passed_over: kinds.zip(passed_over.iter().cloned()).collect(),
        }
    }

    fn sign(vendor: GpuVendor) -> GpuSign {
        GpuSign {
            vendor,
            what: "/dev/x".to_owned(),
        }
    }

    #[test]
    fn a_gpu_is_missed_where_the_processor_works_in_its_stead() {
        let cuda = DeviceError::NoDevice(BackendKind::Cuda);
        let rocm = DeviceError::NotCompiledIn(BackendKind::Rocm);
        let passed_over = [cuda.clone(), rocm.clone()];
        let reasons = |selection: Selection, vendor| {
            let mut missed = selection.missed(vec![sign(vendor)]).into_iter();
            missed.next().map(|missed| missed.reason)
        };
        let processor = || selection(BackendKind::Flex, "processor", &passed_over);
        assert_eq!(reasons(processor(), GpuVendor::Nvidia), Some(cuda.clone()));
        assert_eq!(reasons(processor(), GpuVendor::Amd), Some(rocm));
        assert!(processor().missed(Vec::new()).is_empty());
        // Another interface reaches the GPU; that a backend of this program fails is still told.
        let vulkan = || selection(BackendKind::Vulkan, "discrete GPU", &passed_over);
        assert_eq!(reasons(vulkan(), GpuVendor::Nvidia), Some(cuda));
        assert_eq!(reasons(vulkan(), GpuVendor::Amd), None);
        let software = selection(BackendKind::Vulkan, SOFTWARE_RENDERER, &passed_over);
        assert!(reasons(software, GpuVendor::Amd).is_some());
        // Nothing was passed over by a user who named the processor.
        let named = selection(BackendKind::Flex, "processor", &[]);
        assert_eq!(reasons(named, GpuVendor::Nvidia), None);
    }
}
