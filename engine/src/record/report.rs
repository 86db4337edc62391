//! Times and memory of every phase, for programs.

use std::path::{Path, PathBuf};

use loader::{LoadReport, ReadMethod, StreamFigures};
use serde::Serialize;

use crate::error::Error;
use crate::files::atomic;
use crate::files::json_path::lossy;
use crate::plan::{PhaseName, Streaming};
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

/// The estimate for a computation, and what came in meanwhile.
#[derive(Debug, Serialize)]
struct ComputeFigures {
    /// Memory beside the weights.
    working_estimate: u64,
    /// What was streamed; none where all weights stay in memory.
    streamed: Option<Streamed>,
}

/// What was streamed while a phase computed.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Streamed {
    /// Blocks that stay in memory.
    pub resident_blocks: usize,
    /// Blocks that come in anew with each pass.
    pub streamed_blocks: usize,
    /// Passes over all blocks.
    pub passes: u64,
    /// Bytes of blocks that were read from the files, those read ahead included.
    pub bytes_read: u64,
    /// Bytes of blocks that came from the RAM cache.
    pub bytes_from_cache: u64,
    /// Seconds in which the computation waited for bytes.
    pub stall_seconds: f64,
    /// The seconds of each pass that the plan expected it to wait.
    pub planned_stall_seconds: Option<f64>,
    /// Device memory of the slots.
    pub slot_bytes: u64,
    /// Host memory that bytes go through.
    pub stream_ring_bytes: u64,
    /// Host memory of the RAM cache.
    pub ram_cache_bytes: u64,
}

impl Streamed {
    /// Makes the figures of a stream that was planned like this.
    pub fn new(streaming: &Streaming, figures: StreamFigures) -> Self {
        Self {
            resident_blocks: streaming.resident_blocks,
            streamed_blocks: streaming.streamed_blocks,
            passes: figures.groups / (streaming.streamed_blocks as u64).max(1),
            bytes_read: figures.bytes_read,
            bytes_from_cache: figures.bytes_from_cache,
            stall_seconds: figures.seconds_stalled,
            planned_stall_seconds: streaming.wait_seconds,
            slot_bytes: figures.slot_bytes,
            stream_ring_bytes: figures.ring_bytes,
            ram_cache_bytes: figures.cache_bytes,
        }
    }

    /// Adds those of another turn.
    fn add(&mut self, turn: &Self) {
        *self = Self {
            passes: self.passes + turn.passes,
            bytes_read: self.bytes_read + turn.bytes_read,
            bytes_from_cache: self.bytes_from_cache + turn.bytes_from_cache,
            stall_seconds: self.stall_seconds + turn.stall_seconds,
            ..*turn
        };
    }
}

impl Phase {
    /// A phase that computes.
    pub fn compute(
        phase: PhaseName,
        seconds: f64,
        working_estimate: u64,
        device_peak: Option<u64>,
        streamed: Option<Streamed>,
    ) -> Self {
        Self {
            name: phase.as_str(),
            seconds,
            device_peak,
            load: None,
            compute: Some(ComputeFigures {
                working_estimate,
                streamed,
            }),
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
    pub fn add_turn(&mut self, seconds: f64, device_peak: Option<u64>, streamed: Option<Streamed>) {
        self.seconds += seconds;
        self.device_peak = self.device_peak.max(device_peak);
        if let Some(compute) = &mut self.compute {
            match (&mut compute.streamed, streamed) {
                (Some(before), Some(turn)) => before.add(&turn),
                (before, turn) => *before = before.or(turn),
            }
        }
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
