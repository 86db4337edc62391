//! The devices of this machine, and the choice among them.

mod choose;
pub(crate) mod kind;
mod signs;

pub use choose::{BackendReport, MissedGpu, Selection, choose, list, probe, select};
pub use kind::{BackendKind, DeviceChoice, DeviceError, FoundDevice, Library};
pub use signs::{GpuSign, GpuVendor, Surroundings, gpu_signs};
