//! `devices`: what this build can compute on, here.

use std::fmt::Write as _;

use backends::device::FoundDevice;
use backends::{BackendReport, DeviceError};
use serde::Serialize;

use crate::args::{DevicesArgs, format_bytes};
use crate::console;
use crate::error::CliError;

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
    let listed: Vec<Listed> = backends::list().into_iter().map(Listed::from).collect();
    let text = if args.json {
        let json = serde_json::to_string_pretty(&listed)
            .map_err(|error| CliError::Internal(error.to_string()))?;
        json + "\n"
    } else {
        as_text(&listed)
    };
    console::stdout(&text)
}

impl From<BackendReport> for Listed {
    fn from(report: BackendReport) -> Self {
        let (devices, reason) = match report.devices {
            Ok(devices) if devices.is_empty() => (
                Vec::new(),
                Some(DeviceError::NoDevice(report.kind).to_string()),
            ),
            Ok(devices) => (devices, None),
            Err(error) => (Vec::new(), Some(error.to_string())),
        };
        Self {
            backend: report.kind.name(),
            compiled_in: report.compiled_in,
            feature: report.kind.name(),
            devices: devices.into_iter().map(ListedDevice::from).collect(),
            reason,
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

fn as_text(listed: &[Listed]) -> String {
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
    text
}
