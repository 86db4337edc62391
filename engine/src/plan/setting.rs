//! The place where work is done, and its memory.

use backends::host_memory::available as host_available;
use backends::{
    Arithmetic, BackendKind, DeviceChoice, DeviceMemory, KernelSet, ModelBackend, Numerics,
    RunningKernels,
};
use burn::tensor::{DType, FloatDType};
use loader::LoadMethod;
use serde::{Serialize, Serializer};

use super::budget::{Budget, RUNTIME_ALLOWANCE, Room};
use crate::error::Error;
use crate::request::{BackendName, ComputeConfig, DtypeChoice, StreamChoice, VaeTiling};

/// The facts that a backend tells of its device.
#[derive(Debug, Clone, Copy)]
pub struct Facts {
    /// Whose kernels work there.
    pub kernels: KernelSet,
    /// The number format that blocks compute in.
    pub dtype: FloatDType,
    /// The driver's figures, where there are any.
    pub memory: Option<DeviceMemory>,
}

impl Facts {
    /// Assumes a GPU with `total` bytes, of which this process's own context and kernels are in use.
    fn of_gpu(total: u64, dtype: DtypeChoice, backend: BackendName) -> Self {
        Self {
            kernels: match backend {
                BackendName::Auto | BackendName::Kind(BackendKind::Cuda) => KernelSet::Cuda,
                _ => KernelSet::Portable,
            },
            // The graphics interfaces' shading languages do not compute in bf16.
            dtype: match (dtype, backend) {
                (DtypeChoice::F32, _)
                | (
                    DtypeChoice::Auto,
                    BackendName::Kind(
                        BackendKind::Metal | BackendKind::Vulkan | BackendKind::WebGpu,
                    ),
                ) => FloatDType::F32,
                _ => FloatDType::BF16,
            },
            memory: Some(DeviceMemory {
                free: total.saturating_sub(RUNTIME_ALLOWANCE),
                total,
            }),
        }
    }
}

/// Asks a device.
///
/// # Errors
/// [`Error::NoBf16`].
pub fn facts<B: ModelBackend>(choice: DtypeChoice, device: &B::Device) -> Result<Facts, Error> {
    let has_bf16 = || B::supports_dtype(device, DType::BF16);
    let dtype = match choice {
        DtypeChoice::Auto if B::HOST_MEMORY || !has_bf16() => FloatDType::F32,
        DtypeChoice::F32 => FloatDType::F32,
        DtypeChoice::Bf16 if !has_bf16() => {
            return Err(Error::NoBf16);
        }
        DtypeChoice::Auto | DtypeChoice::Bf16 => FloatDType::BF16,
    };
    Ok(Facts {
        kernels: B::KERNELS,
        dtype,
        memory: B::memory(device),
    })
}

/// The memory that a phase's tensors are in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Place {
    /// In host memory; weights stay in their file's mapping.
    Processor,
    /// In a GPU's own memory.
    Device,
}

/// The places where phases run, and how they compute.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Setting {
    /// The place of denoising and decoding.
    pub place: Place,
    /// The place of encoding.
    pub encoder_place: Place,
    /// The device's memory as its driver tells, or as it is to be assumed.
    pub device: Option<DeviceFigures>,
    /// The device of this machine that was chosen; none where one is assumed.
    pub chosen: Option<Chosen>,
    /// The limit, and what was in use before.
    #[serde(flatten)]
    pub budget: Budget,
    /// The name of the limit in messages.
    #[serde(skip)]
    pub limit_name: &'static str,
    /// Host memory that can be had without swapping.
    pub host_available: Option<u64>,
    /// The number format that blocks compute in.
    #[serde(serialize_with = "dtype_name")]
    pub dtype: FloatDType,
    /// The choice of tiles for encoding and decoding.
    #[serde(skip)]
    pub vae_tiling: VaeTiling,
    /// How weights get to the processor.
    #[serde(skip)]
    pub weights: LoadMethod,
    /// Whose kernels work on the device.
    #[serde(skip)]
    pub kernels: KernelSet,
    /// The arithmetic of the transformer's FP8 weights.
    #[serde(skip)]
    pub arithmetic: Arithmetic,
    /// True if the decoder is never beside the transformer.
    #[serde(skip)]
    pub one_model: bool,
    /// Whether blocks that do not fit are streamed.
    #[serde(skip)]
    pub stream: StreamChoice,
    /// The most bytes of streamed blocks that stay in host memory.
    pub ram_cache: u64,
    /// The most host memory to count on, whatever there is.
    #[serde(skip)]
    pub host_limit: Option<u64>,
    /// Bytes a second that are read from the transformer's files, where that is known.
    pub read_rate: Option<f64>,
    /// Operations a second of the transformer on this device, where an earlier run has shown it.
    pub flops_per_second: Option<f64>,
}

/// [`DeviceChoice`] for JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Chosen {
    /// The backend's name.
    pub backend: &'static str,
    /// The number among the backend's devices.
    pub index: usize,
}

/// [`DeviceMemory`] for JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct DeviceFigures {
    /// Not in use by any process.
    pub free: u64,
    /// Installed.
    pub total: u64,
}

impl From<DeviceMemory> for DeviceFigures {
    fn from(DeviceMemory { free, total }: DeviceMemory) -> Self {
        Self { free, total }
    }
}

impl From<DeviceFigures> for DeviceMemory {
    fn from(DeviceFigures { free, total }: DeviceFigures) -> Self {
        Self { free, total }
    }
}

impl Setting {
    /// On a device of this machine, which says this of itself now that the process begins.
    pub fn on(compute: &ComputeConfig, device: &DeviceChoice, facts: Facts) -> Self {
        let budget = Budget::new(compute.vram_limit, facts.memory);
        Self {
            chosen: Some(Chosen {
                backend: device.kind.name(),
                index: device.index,
            }),
            ..Self::new(compute, facts, budget)
        }
    }

    /// On an assumed GPU of `total` bytes.
    pub fn on_gpu_of(compute: &ComputeConfig, total: u64) -> Self {
        let budget = Budget {
            limit: compute.vram_limit,
            used_before: 0,
        };
        Self::new(
            compute,
            Facts::of_gpu(total, compute.dtype, compute.backend),
            budget,
        )
    }

    fn new(compute: &ComputeConfig, facts: Facts, budget: Budget) -> Self {
        let place = if facts.kernels == KernelSet::Processor {
            Place::Processor
        } else {
            Place::Device
        };
        Self {
            place,
            encoder_place: if compute.text_encoder_on_cpu {
                Place::Processor
            } else {
                place
            },
            device: facts.memory.map(DeviceFigures::from),
            chosen: None,
            budget,
            limit_name: compute.limit_name,
            host_available: host_memory(compute.host_limit),
            dtype: facts.dtype,
            vae_tiling: compute.vae_tiling,
            weights: compute.weights,
            kernels: facts.kernels,
            arithmetic: compute.arithmetic,
            one_model: compute.one_model,
            stream: compute.stream,
            ram_cache: compute.ram_cache,
            host_limit: compute.host_limit,
            read_rate: None,
            flops_per_second: None,
        }
    }

    /// Asks for the memory that the device and the host have now.
    pub fn now<B: ModelBackend>(&self, device: &B::Device) -> Self {
        Self {
            // The processor knows nothing of the device.
            device: if B::HOST_MEMORY {
                self.device
            } else {
                B::memory(device).map(DeviceFigures::from)
            },
            host_available: host_memory(self.host_limit),
            ..*self
        }
    }

    /// Counts bytes in a place as free that a model holds which can be dropped.
    pub fn give_back(&mut self, place: Place, bytes: u64) {
        match (place, &mut self.device, &mut self.host_available) {
            (Place::Device, Some(memory), _) => {
                memory.free = memory.free.saturating_add(bytes).min(memory.total);
            }
            (Place::Processor, _, Some(available)) => {
                *available = available.saturating_add(bytes);
            }
            _ => {}
        }
    }

    /// Returns the memory that phases on the device have; `None` where that is not known. A limit
    /// binds as well where the driver tells nothing.
    pub fn room(&self) -> Option<Room> {
        match (self.device, self.budget.limit) {
            (Some(memory), _) => Some(self.budget.room(memory.into())),
            (None, Some(limit)) => Some(Room {
                available: limit,
                limited: true,
            }),
            (None, None) => None,
        }
    }

    /// Returns the bytes of the device that this process holds, as far as its driver tells.
    pub fn held(&self) -> u64 {
        self.device
            .map_or(0, |memory| self.budget.held(memory.into()))
    }

    /// Tells whether the user's limit is what binds.
    pub fn is_limited(&self) -> bool {
        self.room().is_some_and(|room| room.limited)
    }

    /// Bytes that a phase in a place may take, where that is known.
    pub fn available(&self, place: Place) -> Option<u64> {
        match place {
            Place::Processor => self.host_available,
            Place::Device => self.room().map(|room| room.available),
        }
    }

    /// Returns whether what does not fit in a place is streamed. A mapping needs no stream: the
    /// system drops its pages and reads them again.
    pub fn streams(&self, place: Place) -> bool {
        let is_read = place == Place::Device || self.weights == LoadMethod::Read;
        self.stream == StreamChoice::Auto && is_read
    }

    /// Returns whether bytes get to a place while it computes.
    pub fn copies_beside(&self, place: Place) -> bool {
        place == Place::Device && self.kernels == KernelSet::Cuda
    }

    /// Returns the numerics of a phase in a place: the processor's numbers are f32 beside a GPU's.
    pub fn numerics(&self, place: Place) -> Numerics {
        let dtype = if place == self.place {
            self.dtype
        } else {
            FloatDType::F32
        };
        let kernels = match place {
            Place::Processor => KernelSet::Processor,
            Place::Device => self.kernels,
        };
        Numerics {
            dtype,
            kernels: RunningKernels::of(kernels),
            arithmetic: Arithmetic::Exact,
        }
    }
}

/// The host memory that can be had without swapping, and not more than `limit`.
fn host_memory(limit: Option<u64>) -> Option<u64> {
    match (host_available(), limit) {
        (Some(available), Some(limit)) => Some(available.min(limit)),
        (available, limit) => available.or(limit),
    }
}

/// A number format's name.
pub const fn dtype_str(dtype: FloatDType) -> &'static str {
    match dtype {
        FloatDType::BF16 => "bf16",
        _ => "f32",
    }
}

fn dtype_name<S: Serializer>(dtype: &FloatDType, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(dtype_str(*dtype))
}
