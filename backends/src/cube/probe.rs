//! Asks AMD's and the portable GPU backends for their devices.
//!
//! Neither has a way to ask that cannot panic where a driver is missing, so the question is
//! asked behind `catch_unwind`.

use std::panic::catch_unwind;
use std::sync::{Mutex, PoisonError};

use burn::tensor::backend::Backend;

#[cfg(feature = "wgpu")]
use crate::device::kind::SOFTWARE_RENDERER;
use crate::device::kind::{BackendKind, DeviceError, FoundDevice, Library};

/// Kinds of device as the portable runtime numbers them.
#[cfg(feature = "wgpu")]
mod wgpu_kind {
    pub(super) const DISCRETE: u16 = 0;
    pub(super) const INTEGRATED: u16 = 1;
    pub(super) const VIRTUAL: u16 = 2;
    pub(super) const PROCESSOR: u16 = 3;
}

/// The devices of ROCm or of a portable GPU backend.
pub(crate) fn devices(kind: BackendKind) -> Result<Vec<FoundDevice>, DeviceError> {
    let found: Vec<FoundDevice> = match kind {
        #[cfg(feature = "rocm")]
        BackendKind::Rocm => {
            let count = ask(kind, || <burn_rocm::Rocm as Backend>::device_count(0))?;
            (0..count)
                .map(|index| FoundDevice {
                    index,
                    name: "AMD GPU".into(),
                    memory: None,
                })
                .collect()
        }
        #[cfg(feature = "wgpu")]
        _ => portable(kind)?
            .into_iter()
            .enumerate()
            .map(|(index, (name, _))| FoundDevice {
                index,
                name: name.into(),
                memory: None,
            })
            .collect(),
        #[cfg(not(feature = "wgpu"))]
        _ => Vec::new(),
    };
    if found.is_empty() {
        return Err(DeviceError::NoDevice(kind));
    }
    Ok(found)
}

/// Every device that the portable runtime sees: discrete GPUs first, software last.
#[cfg(feature = "wgpu")]
fn portable(kind: BackendKind) -> Result<Vec<(&'static str, burn_wgpu::WgpuDevice)>, DeviceError> {
    use burn_wgpu::WgpuDevice;
    let count = |type_id| {
        ask(kind, move || {
            <burn_wgpu::Wgpu as Backend>::device_count(type_id)
        })
    };
    let mut found = Vec::new();
    for index in 0..count(wgpu_kind::DISCRETE)? {
        found.push(("discrete GPU", WgpuDevice::DiscreteGpu(index)));
    }
    for index in 0..count(wgpu_kind::INTEGRATED)? {
        found.push(("integrated GPU", WgpuDevice::IntegratedGpu(index)));
    }
    for index in 0..count(wgpu_kind::VIRTUAL)? {
        found.push(("virtual GPU", WgpuDevice::VirtualGpu(index)));
    }
    if count(wgpu_kind::PROCESSOR)? > 0 {
        found.push((SOFTWARE_RENDERER, WgpuDevice::Cpu));
    }
    Ok(found)
}

/// The chosen device, with its graphics API set up for it.
#[cfg(feature = "wgpu")]
pub(crate) fn wgpu_device(choice: &crate::device::kind::DeviceChoice) -> burn_wgpu::WgpuDevice {
    use burn_wgpu::WgpuDevice;
    use burn_wgpu::graphics::{AutoGraphicsApi, Metal, Vulkan};

    let device = portable(choice.kind)
        .ok()
        .and_then(|found| found.into_iter().nth(choice.index))
        .map_or_else(Default::default, |(_, device)| device);
    // The runtime takes one set-up for a device, and answers a second one with a panic.
    static SET_UP: Mutex<Vec<WgpuDevice>> = Mutex::new(Vec::new());
    let mut set_up = SET_UP.lock().unwrap_or_else(PoisonError::into_inner);
    if set_up.contains(&device) {
        return device;
    }
    let options = burn_wgpu::RuntimeOptions::default();
    match choice.kind {
        BackendKind::Metal => burn_wgpu::init_setup::<Metal>(&device, options),
        // WebGPU's shading language by way of what the system has: only browsers have WebGPU
        // itself.
        BackendKind::WebGpu => burn_wgpu::init_setup::<AutoGraphicsApi>(&device, options),
        _ => burn_wgpu::init_setup::<Vulkan>(&device, options),
    };
    set_up.push(device.clone());
    device
}

/// `question`'s answer, or an error where the runtime panics for want of a driver.
fn ask<T>(
    kind: BackendKind,
    question: impl FnOnce() -> T + std::panic::UnwindSafe,
) -> Result<T, DeviceError> {
    // The question is CubeCL's first use, after which it takes no configuration.
    super::kernel_cache::use_for_cubecl();
    // Two at a time would each put back what the other had set.
    static HOOK: Mutex<()> = Mutex::new(());
    let _one_at_a_time = HOOK.lock().unwrap_or_else(PoisonError::into_inner);
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let answer = catch_unwind(question);
    std::panic::set_hook(hook);
    answer.map_err(|_| DeviceError::MissingLibrary {
        kind,
        library: Library::GpuDriver,
    })
}
