//! Signs that this machine has a GPU, whether or not a backend can use it.

use std::ffi::OsString;
use std::fmt;
use std::fs;
use std::path::Path;

use super::kind::BackendKind;

/// The vendor of the GPU that a sign is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum GpuVendor {
    /// NVIDIA.
    Nvidia,
    /// AMD.
    Amd,
    /// Apple.
    Apple,
    /// Any vendor: Windows lends the GPU to its subsystem for Linux.
    Windows,
}

impl GpuVendor {
    /// The backend that is made for such a GPU.
    pub const fn backend(self) -> BackendKind {
        match self {
            Self::Nvidia | Self::Windows => BackendKind::Cuda,
            Self::Amd => BackendKind::Rocm,
            Self::Apple => BackendKind::Metal,
        }
    }
}

impl fmt::Display for GpuVendor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Nvidia => "NVIDIA GPU",
            Self::Amd => "AMD GPU",
            Self::Apple => "Apple GPU",
            Self::Windows => "GPU of Windows",
        })
    }
}

/// Something that a machine without such a GPU would not have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GpuSign {
    /// The vendor of the GPU.
    pub vendor: GpuVendor,
    /// A path, or the name of an environment variable.
    pub what: String,
}

/// The places where signs are looked for.
#[derive(Clone, Copy)]
pub struct Surroundings<'a> {
    /// The root of the file system.
    pub root: &'a Path,
    /// Looks up an environment variable.
    pub variable: &'a dyn Fn(&str) -> Option<OsString>,
}

/// Files of a driver that a machine without the GPU has no use for.
const NVIDIA_FILES: [&str; 12] = [
    "/dev/nvidiactl",
    "/dev/nvhost-gpu",
    "/proc/driver/nvidia/version",
    "/usr/lib/x86_64-linux-gnu/libcuda.so.1",
    "/usr/lib/aarch64-linux-gnu/libcuda.so.1",
    "/usr/lib/aarch64-linux-gnu/tegra/libcuda.so.1",
    "/usr/lib64/libcuda.so.1",
    "/usr/lib/libcuda.so.1",
    "/usr/lib/wsl/lib/libcuda.so.1",
    "/usr/local/nvidia/lib64/libcuda.so.1",
    "/run/opengl-driver/lib/libcuda.so.1",
    "/Windows/System32/nvcuda.dll",
];
const AMD_FILES: [&str; 1] = ["/dev/kfd"];
/// The device that Windows lends its GPU by.
const WINDOWS_DEVICE: &str = "/dev/dxg";
/// The folder in which Linux lists the devices in the machine's slots.
const PCI: &str = "/sys/bus/pci/devices";
/// The vendors' numbers there.
const PCI_NVIDIA: &str = "0x10de";
const PCI_AMD: &str = "0x1002";
/// The beginning of the class of display controllers there.
const PCI_DISPLAY: &str = "0x03";

/// Variables that list the GPUs a process may see, and values that list none.
const NVIDIA_LISTS: [&str; 2] = ["CUDA_VISIBLE_DEVICES", "NVIDIA_VISIBLE_DEVICES"];
const AMD_LISTS: [&str; 2] = ["HIP_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES"];
const NONE: [&str; 5] = ["", "-1", "none", "void", "NoDevFiles"];

/// Finds the first sign of each vendor's GPU. A GPU that a variable hides has none: it is not
/// wanted.
pub fn gpu_signs(around: Surroundings<'_>) -> Vec<GpuSign> {
    let sign = |vendor, what: Option<String>| {
        Some(GpuSign {
            vendor,
            what: what?,
        })
    };
    let nvidia = || {
        let file = node(around.root, "nvidia").or_else(|| first_file(around, &NVIDIA_FILES));
        let listed = || listed(around, &NVIDIA_LISTS);
        file.or_else(|| in_a_slot(around.root, PCI_NVIDIA))
            .or_else(listed)
    };
    let amd = || {
        let file = first_file(around, &AMD_FILES);
        let listed = || listed(around, &AMD_LISTS);
        file.or_else(|| in_a_slot(around.root, PCI_AMD))
            .or_else(listed)
    };
    let nvidia_hidden = hidden(around, &NVIDIA_LISTS);
    let nvidia = (!nvidia_hidden).then(nvidia).flatten();
    let amd = (!hidden(around, &AMD_LISTS)).then(amd).flatten();
    // NVIDIA's driver for that subsystem has its own library there, which says more.
    let windows = (!nvidia_hidden && nvidia.is_none())
        .then(|| first_file(around, &[WINDOWS_DEVICE]))
        .flatten();
    let apple = cfg!(all(target_os = "macos", target_arch = "aarch64"))
        .then(|| "an Apple processor has one".to_owned());
    [
        sign(GpuVendor::Nvidia, nvidia),
        sign(GpuVendor::Windows, windows),
        sign(GpuVendor::Amd, amd),
        sign(GpuVendor::Apple, apple),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// A path below another root.
fn below(root: &Path, path: &str) -> std::path::PathBuf {
    root.join(path.trim_start_matches('/'))
}

fn first_file(around: Surroundings<'_>, files: &[&str]) -> Option<String> {
    let mut files = files.iter();
    let found = files.find(|file| below(around.root, file).exists())?;
    Some((*found).to_owned())
}

/// The first device node that is `name` and a number.
fn node(root: &Path, name: &str) -> Option<String> {
    let entries = fs::read_dir(below(root, "/dev")).into_iter().flatten();
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let is_one = |found: &String| {
        found.strip_prefix(name).is_some_and(|number| {
            !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())
        })
    };
    Some(format!("/dev/{}", names.filter(is_one).min()?))
}

/// The first display controller of a vendor.
fn in_a_slot(root: &Path, vendor: &str) -> Option<String> {
    let entries = fs::read_dir(below(root, PCI)).into_iter().flatten();
    let slots = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let is_one = |slot: &String| {
        let file = |name: &str| {
            let path = below(root, PCI).join(slot).join(name);
            fs::read_to_string(path).unwrap_or_default()
        };
        file("vendor").trim() == vendor && file("class").starts_with(PCI_DISPLAY)
    };
    Some(format!("{PCI}/{}", slots.filter(is_one).min()?))
}

/// The first variable that lists a GPU.
fn listed(around: Surroundings<'_>, variables: &[&str]) -> Option<String> {
    let mut variables = variables.iter();
    let lists_some = |name: &&&str| {
        (around.variable)(name).is_some_and(|value| !NONE.iter().any(|none| value == **none))
    };
    Some((*variables.find(lists_some)?).to_owned())
}

/// Tells whether a variable lists no GPU at all.
fn hidden(around: Surroundings<'_>, variables: &[&str]) -> bool {
    variables.iter().any(|name| {
        (around.variable)(name).is_some_and(|value| NONE.iter().any(|none| value == **none))
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::ffi::OsString;
    use std::fs;
    use std::path::Path;

    use super::{GpuVendor, Surroundings, gpu_signs};

    fn signs(root: &Path, variables: &[(&str, &str)]) -> Vec<(GpuVendor, String)> {
        let variable = |name: &str| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| OsString::from(value))
        };
        let around = Surroundings {
            root,
            variable: &variable,
        };
        let signs = gpu_signs(around).into_iter();
        signs
            .filter(|sign| sign.vendor != GpuVendor::Apple)
            .map(|sign| (sign.vendor, sign.what))
            .collect()
    }

    fn machine(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (path, content) in files {
            let path = root.path().join(path.trim_start_matches('/'));
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
        root
    }

    #[test]
    fn each_sign_is_seen_alone() {
        for (path, vendor) in [
            ("/dev/nvidia0", GpuVendor::Nvidia),
            ("/dev/nvidiactl", GpuVendor::Nvidia),
            ("/proc/driver/nvidia/version", GpuVendor::Nvidia),
            ("/usr/lib64/libcuda.so.1", GpuVendor::Nvidia),
            ("/dev/kfd", GpuVendor::Amd),
            ("/dev/dxg", GpuVendor::Windows),
        ] {
            let root = machine(&[(path, "")]);
            assert_eq!(signs(root.path(), &[]), [(vendor, path.to_owned())]);
        }
        assert_eq!(signs(machine(&[]).path(), &[]), []);
    }

    #[test]
    fn a_slot_counts_by_its_vendor_and_its_class() {
        let slot = "/sys/bus/pci/devices/0000:01:00.0";
        let of = |vendor: &str, class: &str| {
            let files = [
                (format!("{slot}/vendor"), vendor),
                (format!("{slot}/class"), class),
            ];
            let files = files.each_ref().map(|(path, text)| (path.as_str(), *text));
            signs(machine(&files).path(), &[])
        };
        let seen = |vendor| [(vendor, slot.to_owned())];
        assert_eq!(of("0x10de\n", "0x030200\n"), seen(GpuVendor::Nvidia));
        assert_eq!(of("0x1002\n", "0x030000\n"), seen(GpuVendor::Amd));
        // The sound of a graphics card, and a network card.
        assert_eq!(of("0x10de\n", "0x040300\n"), []);
        assert_eq!(of("0x8086\n", "0x020000\n"), []);
    }

    #[test]
    fn variables_ask_for_a_gpu_or_hide_it() {
        let empty = machine(&[]);
        for variable in ["CUDA_VISIBLE_DEVICES", "NVIDIA_VISIBLE_DEVICES"] {
            let seen = [(GpuVendor::Nvidia, variable.to_owned())];
            assert_eq!(signs(empty.path(), &[(variable, "0")]), seen);
        }
        let there = machine(&[("/dev/nvidia0", ""), ("/dev/dxg", ""), ("/dev/kfd", "")]);
        for value in ["", "-1", "none"] {
            let left = signs(there.path(), &[("CUDA_VISIBLE_DEVICES", value)]);
            assert_eq!(left, [(GpuVendor::Amd, "/dev/kfd".to_owned())], "{value}");
        }
    }
}
