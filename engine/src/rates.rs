//! How fast disks read and devices compute, as this machine has shown before.
//!
//! Nothing but predictions depends on a rate. A folder that cannot be read knows none, and one that
//! cannot be written keeps none.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use backends::{Arithmetic, DeviceChoice};
use burn::tensor::FloatDType;
use loader::Weights;
use sha2::{Digest, Sha256};

use crate::plan::dtype_str;

/// A rate that is older is found out anew: disks age, and drivers and kernels change.
const STALE: Duration = Duration::from_secs(14 * 24 * 60 * 60);

/// A folder of rates.
#[derive(Debug, Clone)]
pub struct Rates {
    folder: PathBuf,
}

/// How a device computes.
#[derive(Debug, Clone, Copy)]
pub struct Computes {
    /// The device.
    pub device: DeviceChoice,
    /// The number format.
    pub dtype: FloatDType,
    /// The arithmetic of FP8 weights.
    pub arithmetic: Arithmetic,
}

impl Rates {
    /// The rates in a folder, which need not be there.
    pub fn new(folder: PathBuf) -> Self {
        Self { folder }
    }

    /// Bytes a second of the disk that has a checkpoint.
    pub fn of_disk(&self, weights: &Weights) -> Option<f64> {
        self.get(&disk(weights)?)
    }

    /// Keeps the bytes a second of the disk that has a checkpoint.
    pub fn keep_of_disk(&self, weights: &Weights, rate: f64) {
        if let Some(name) = disk(weights) {
            self.put(&name, rate);
        }
    }

    /// The transformer's operations a second on a device.
    pub fn of_device(&self, computes: Computes) -> Option<f64> {
        self.get(&computes.name())
    }

    /// Keeps the transformer's operations a second on a device.
    pub fn keep_of_device(&self, computes: Computes, rate: f64) {
        self.put(&computes.name(), rate);
    }

    fn get(&self, name: &str) -> Option<f64> {
        let path = self.folder.join(name);
        let age = fs::metadata(&path).ok()?.modified().ok()?.elapsed();
        let rate: f64 = fs::read_to_string(&path).ok()?.trim().parse().ok()?;
        (is_rate(rate) && age.is_ok_and(|age| age <= STALE)).then_some(rate)
    }

    fn put(&self, name: &str, rate: f64) {
        if is_rate(rate) {
            // Without it the next plan says less, and that is all.
            let _ = store(&self.folder, name, rate);
        }
    }
}

fn is_rate(rate: f64) -> bool {
    rate.is_finite() && rate > 0.0
}

fn store(folder: &Path, name: &str, rate: f64) -> std::io::Result<()> {
    fs::create_dir_all(folder)?;
    let mut builder = tempfile::Builder::new();
    let mut file = builder.prefix(".").suffix(".part").tempfile_in(folder)?;
    writeln!(file, "{rate:e}")?;
    file.as_file().set_modified(SystemTime::now())?;
    file.persist(folder.join(name))?;
    Ok(())
}

/// The name of the disk that has a checkpoint's first file; `None` where the system tells no
/// number of it.
fn disk(weights: &Weights) -> Option<String> {
    let file = weights.checkpoint().files().first()?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        let device = fs::metadata(&file.path).ok()?.dev();
        Some(format!("disk-{device:x}"))
    }
    #[cfg(not(unix))]
    {
        let path = fs::canonicalize(&file.path).ok()?;
        let root = path.components().next()?.as_os_str().to_string_lossy();
        let digest = Sha256::digest(root.as_bytes());
        Some(format!("disk-{digest:x}"))
    }
}

impl Computes {
    fn name(self) -> String {
        let found = backends::device::probe(self.device.kind).unwrap_or_default();
        let mut found = found.iter();
        let named = found.find(|found| found.index == self.device.index);
        let name = named.map_or("", |found| found.name.as_str());
        let text = format!(
            "{} {name} {} {:?}",
            self.device.kind.name(),
            dtype_str(self.dtype),
            self.arithmetic
        );
        format!("device-{:x}", Sha256::digest(text.as_bytes()))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::fs::{self, File};

    use backends::{BackendKind, DeviceChoice};

    use super::*;

    fn computes(dtype: FloatDType) -> Computes {
        Computes {
            device: DeviceChoice {
                kind: BackendKind::Flex,
                index: 0,
            },
            dtype,
            arithmetic: Arithmetic::Exact,
        }
    }

    #[test]
    fn a_rate_comes_back_for_the_same_device_and_numbers() {
        let folder = tempfile::tempdir().unwrap();
        let rates = Rates::new(folder.path().join("rates"));
        let f32 = computes(FloatDType::F32);
        assert_eq!(rates.of_device(f32), None);
        rates.keep_of_device(f32, 1.25e12);
        assert_eq!(rates.of_device(f32), Some(1.25e12));
        assert_eq!(rates.of_device(computes(FloatDType::BF16)), None);
        rates.keep_of_device(f32, 2e12);
        assert_eq!(rates.of_device(f32), Some(2e12));
        // What is no rate changes nothing.
        for rate in [f64::NAN, f64::INFINITY, 0.0, -1.0] {
            rates.keep_of_device(f32, rate);
            assert_eq!(rates.of_device(f32), Some(2e12));
        }
    }

    #[test]
    fn a_rate_that_is_old_or_damaged_is_not_known() {
        let folder = tempfile::tempdir().unwrap();
        let rates = Rates::new(folder.path().to_owned());
        let f32 = computes(FloatDType::F32);
        rates.keep_of_device(f32, 1e12);
        let path = folder.path().join(f32.name());
        let file = File::options().write(true).open(&path).unwrap();
        file.set_modified(SystemTime::now() - 2 * STALE).unwrap();
        assert_eq!(rates.of_device(f32), None);
        for text in ["", "fast", "-1", "inf", "1e12 more"] {
            fs::write(&path, text).unwrap();
            assert_eq!(rates.of_device(f32), None, "{text}");
        }
        fs::write(&path, "3e12\n").unwrap();
        assert_eq!(rates.of_device(f32), Some(3e12));
    }
}
