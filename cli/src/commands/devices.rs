//! `devices`: what this build can compute on, here.

use std::fmt::Write as _;

use backends::device::FoundDevice;
use backends::{BackendReport, DeviceError, GpuSign};
use engine::bytes::format_bytes;
use serde::Serialize;

use crate::args::{DevicesArgs, Environment};
use crate::console;
use crate::error::CliError;
use crate::hints;
use crate::running_on;

/// One backend in `--json`.
#[derive(Debug, Serialize)]
struct Listed {
    backend: &'static str,
    compiled_in: bool,
    /// The cargo feature that adds it.
    feature: &'static str,
    devices: Vec<ListedDevice>,
    /// Why there are none.
    reason: Option<String>,
    /// A sign on this machine of a GPU that this backend is made for.
    sign: Option<String>,
}

#[derive(Debug, Serialize)]
struct ListedDevice {
    index: usize,
    name: String,
    memory_bytes: Option<u64>,
}

/// Prints the list.
///
/// # Errors
/// [`CliError::Stdout`].
pub(crate) fn run(args: &DevicesArgs) -> Result<(), CliError> {
    let signs = Environment::of_process().gpu_signs();
    let reports = backends::list().into_iter();
    let listed: Vec<Listed> = reports.map(|report| Listed::of(report, &signs)).collect();
    let text = if args.json {
        let json = serde_json::to_string_pretty(&listed)
            .map_err(|error| CliError::internal(error.to_string()))?;
        json + "\n"
    } else {
        let auto = match backends::select("auto", None) {
            Ok(selection) => running_on::words(&selection, signs),
            Err(error) => hints::device(&error),
        };
        as_text(&listed, &auto)
    };
    console::stdout(&text)
}

impl Listed {
    fn of(report: BackendReport, signs: &[GpuSign]) -> Self {
        let mut signs = signs.iter();
        let sign = signs.find(|sign| sign.vendor.backend() == report.kind);
        let (devices, reason) = match report.devices {
            Ok(devices) if devices.is_empty() => (
                Vec::new(),
                Some(DeviceError::NoDevice(report.kind).to_string()),
            ),
            Ok(devices) => (devices, None),
            Err(error) => (Vec::new(), Some(hints::device(&error))),
        };
        Self {
            backend: report.kind.name(),
            compiled_in: report.compiled_in,
            feature: report.kind.name(),
            devices: devices.into_iter().map(ListedDevice::from).collect(),
            reason,
            sign: sign.map(|sign| sign.what.clone()),
        }
    }
}

impl From<FoundDevice> for ListedDevice {
    fn from(device: FoundDevice) -> Self {
        Self {
            index: device.index,
            name: device.name,
            memory_bytes: device.memory,
        }
    }
}

/// The devices, and what `auto` takes of them.
fn as_text(listed: &[Listed], auto: &str) -> String {
    let mut text = String::new();
    for backend in listed {
        if backend.devices.is_empty() {
            let reason = backend.reason.as_deref().unwrap_or("no device found");
            let _ = writeln!(
                text,
                "{:<8} -  {}",
                backend.backend,
                console::printable(reason)
            );
        }
        for device in &backend.devices {
            let memory = device
                .memory_bytes
                .map_or_else(String::new, |bytes| format!(", {}", format_bytes(bytes)));
            let name = console::printable(&device.name);
            let _ = writeln!(
                text,
                "{:<8} {}  {name}{memory}",
                backend.backend, device.index
            );
        }
    }
    let _ = writeln!(text, "{:<8} runs on {}", "auto", console::printable(auto));
    text
}
