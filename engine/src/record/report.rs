//! Times and memory of every phase, for programs.

use std::path::{Path, PathBuf};

use loader::{LoadReport, ReadMethod};
use serde::Serialize;

use crate::error::Error;
use crate::files::atomic;
use crate::files::json_path::lossy;
use crate::plan::PhaseName;
use crate::request::Sampling;

/// One run of a program that draws.
#[derive(Debug, Serialize)]
pub struct Report {
    /// This program's version.
    pub version: &'static str,
    /// The backend that computed.
    pub backend: &'static str,
    /// Its device's number.
    pub device: usize,
    /// `f32` or `bf16`.
    pub dtype: &'static str,
    /// Pixels across, of the first image; each has its own in `images`.
    pub width: u32,
    /// Pixels down, of the first image.
    pub height: u32,
    /// Denoising steps of the first image.
    pub steps: usize,
    /// How often the transformer was asked for a prediction for the first image; 0 where it was
    /// there already.
    pub model_calls: usize,
    /// `sampler`, `schedule` and `preset` of the first image.
    #[serde(flatten)]
    pub sampling: Sampling,
    /// Guidance scale of the first image.
    pub cfg_scale: f64,
    /// True if each of these predictions ran the model twice.
    pub guided: bool,
    /// The images that were written.
    pub images: Vec<ImageRecord>,
    /// The phases, in order; a phase that ran in turns is one entry, with the sum of its times.
    pub phases: Vec<Phase>,
}

/// One image.
#[derive(Debug, Serialize)]
pub struct ImageRecord {
    /// Its file.
    #[serde(serialize_with = "lossy")]
    pub path: PathBuf,
    /// Its seed; none where the noise came from a file.
    pub seed: Option<u64>,
    /// Pixels across.
    pub width: u32,
    /// Pixels down.
    pub height: u32,
    /// Denoising steps.
    pub steps: usize,
    /// True if an earlier run had made it, and it was left as it is.
    pub skipped: bool,
}

/// One phase. Bytes everywhere; what cannot be known here is null.
#[derive(Debug, Serialize)]
pub struct Phase {
    /// `load_transformer`, `denoise`, …
    pub name: &'static str,
    /// How long it took.
    pub seconds: f64,
    /// The most device memory in use by all processes while it ran.
    device_peak: Option<u64>,
    /// Figures of a load.
    #[serde(flatten)]
    load: Option<LoadFigures>,
    /// Figures of a computation.
    #[serde(flatten)]
    compute: Option<ComputeFigures>,
}

/// The figures of a load.
#[derive(Debug, Serialize)]
struct LoadFigures {
    tensors: usize,
    unused: usize,
    bytes: u64,
    /// How the files were read.
    method: ReadMethod,
    /// Bytes that the system had in memory, and that were read from there.
    memory_bytes: u64,
    /// Host memory that the bytes went through.
    ring_bytes: u64,
    /// The part of them that is used where it lies in the file.
    mapped_bytes: u64,
    /// 10^9 bytes of the file a second.
    gb_per_s: f64,
    peak_anonymous_bytes: Option<u64>,
    page_cache_growth: Option<i64>,
    device_used_before: Option<u64>,
    device_used_after: Option<u64>,
    vram_limit: Option<u64>,
    #[serde(flatten)]
    unload: Unload,
}

/// The memory that dropping the model gave back.
#[derive(Debug, Default, Serialize)]
pub struct Unload {
    /// The device's memory in use when the model was gone.
    pub device_used_after_drop: Option<u64>,
    /// Bytes of device memory that were given back.
    pub device_freed: Option<u64>,
}

/// The memory that a plan expected of a computation.
#[derive(Debug, Serialize)]
struct ComputeFigures {
    /// Memory beside the weights.
    working_estimate: u64,
}

impl Phase {
    /// A phase that computes.
    pub const fn compute(
        phase: PhaseName,
        seconds: f64,
        working_estimate: u64,
        device_peak: Option<u64>,
    ) -> Self {
        Self {
            name: phase.as_str(),
            seconds,
            device_peak,
            load: None,
            compute: Some(ComputeFigures { working_estimate }),
        }
    }

    /// The load of a phase's model.
    pub fn load(
        phase: PhaseName,
        report: &LoadReport,
        vram_limit: Option<u64>,
        device_peak: Option<u64>,
    ) -> Self {
        let name = match phase {
            PhaseName::Encode => "load_text_encoder",
            PhaseName::EncodeImage => "load_vae_encoder",
            PhaseName::Denoise => "load_transformer",
            PhaseName::Decode => "load_vae",
        };
        Self::load_as(name, report, vram_limit, device_peak)
    }

    /// The load of LoRAs, which are dropped with the transformer.
    pub fn load_adapters(report: &LoadReport, vram_limit: Option<u64>) -> Self {
        Self::load_as("load_loras", report, vram_limit, None)
    }

    fn load_as(
        name: &'static str,
        report: &LoadReport,
        vram_limit: Option<u64>,
        device_peak: Option<u64>,
    ) -> Self {
        Self {
            name,
            seconds: report.seconds,
            device_peak,
            load: Some(LoadFigures {
                tensors: report.tensors,
                unused: report.unused,
                bytes: report.bytes,
                method: report.method,
                memory_bytes: report.memory_bytes,
                ring_bytes: report.ring_bytes,
                mapped_bytes: report.mapped_bytes,
                gb_per_s: report.bytes_per_second() / 1e9,
                peak_anonymous_bytes: report.peak_anonymous_bytes,
                page_cache_growth: report.page_cache_growth,
                device_used_before: report.device_used_before,
                device_used_after: report.device_used_after,
                vram_limit,
                unload: Unload::default(),
            }),
            compute: None,
        }
    }

    /// Adds another turn of the same computation.
    pub fn add_turn(&mut self, seconds: f64, device_peak: Option<u64>) {
        self.seconds += seconds;
        self.device_peak = self.device_peak.max(device_peak);
    }

    /// Adds what dropping the model did to its load.
    pub fn unloaded(&mut self, unload: Unload) {
        if let Some(load) = &mut self.load {
            load.unload = unload;
        }
    }
}

impl Report {
    /// Writes the file, whole or not at all.
    ///
    /// # Errors
    /// [`Error::Output`] when it cannot be written.
    pub fn write(&self, path: &Path) -> Result<(), Error> {
        let mut json = serde_json::to_vec_pretty(self)
            .map_err(|error| Error::Internal(format!("report: {error}")))?;
        json.push(b'\n');
        atomic::write(path, &json)
    }
}
