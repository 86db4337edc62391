//! LoRA files: low-rank products beside the transformer's linear layers.
//!
//! A file is opened by its header ([`Lora`]), several with their weights are fitted to a
//! transformer and stacked ([`Adapters`]), and [`load_adapters`] brings the stacks to a device.
//! Nothing is merged into the transformer's weights: in FP8, most of a small difference would be
//! lost in rounding.

mod adapters;
mod error;
mod folder;
mod keys;
mod lightning;
mod load;
mod scale;
mod summary;

use std::collections::BTreeMap;
use std::path::Path;

use burn::tensor::{DType, FloatDType};

pub use adapters::Adapters;
pub use error::{LoraError, Method, Misshapen, OtherSize};
pub use folder::{find_by_name, locate};
pub use lightning::{find_lightning, is_lightning};
pub use load::{LoadedAdapters, load_adapters};
pub use summary::LoraSummary;

use crate::checkpoint::{Checkpoint, Entry};
use crate::convert::is_supported;
use crate::error::LoadError;
use crate::source::Source;
use crate::text::Excerpt;
use keys::{Key, Part};
use scale::{Settings, scalar};

/// A LoRA for the transformer. Its header and its alphas have been read.
#[derive(Clone, Debug)]
pub struct Lora {
    checkpoint: Checkpoint,
    targets: BTreeMap<String, Target>,
}

/// A low-rank product beside one layer. Indices are those of [`Checkpoint::entries`].
#[derive(Clone, Copy, Debug)]
pub(super) struct Target {
    pub(super) down: usize,
    pub(super) up: usize,
    pub(super) rank: usize,
    /// Input features of the layer.
    pub(super) input: usize,
    /// Output features of the layer.
    pub(super) output: usize,
    /// Its alpha, where the file has one.
    pub(super) alpha: Option<f64>,
    /// What the product is scaled by.
    pub(super) scale: f64,
}

/// The tensors found for a layer.
#[derive(Clone, Copy, Debug, Default)]
struct Found {
    down: Option<usize>,
    up: Option<usize>,
    alpha: Option<usize>,
}

impl Lora {
    /// Opens a LoRA file, or a folder with one in it.
    ///
    /// The products are scaled by alpha over the rank wherever the file has an alpha, as ComfyUI
    /// does it; without one, by what PEFT's settings in the header say, and else by 1.
    ///
    /// # Errors
    /// [`LoadError::Lora`] for what is not a LoRA for this transformer, or not a plain one;
    /// [`LoadError::UnsupportedDtype`]; damaged files.
    pub fn open(path: &Path) -> Result<Self, LoadError> {
        let checkpoint = Checkpoint::open(path)?;
        let fault = |fault| LoadError::Lora {
            file: path.to_path_buf(),
            fault: Box::new(fault),
        };
        let found = found(&checkpoint)?;
        let alphas = alphas(&checkpoint, &found)?;
        let metadata = checkpoint.files().first().map(|file| &file.metadata);
        let settings = metadata.and_then(|metadata| metadata.get(Settings::key()));
        let settings = Settings::of(settings).map_err(fault)?;
        let targets = targets(&checkpoint, found, &alphas, &settings).map_err(fault)?;
        let lora = Self {
            checkpoint,
            targets,
        };
        lora.check_dtypes()?;
        Ok(lora)
    }

    /// The path it was opened by.
    pub fn source(&self) -> &Path {
        self.checkpoint.source()
    }

    /// The file's name without its ending.
    pub fn name(&self) -> String {
        let source = self.source();
        let name = source.file_stem().unwrap_or(source.as_os_str());
        name.to_string_lossy().into_owned()
    }

    /// The file's name.
    pub fn file_name(&self) -> String {
        let source = self.source();
        let name = source.file_name().unwrap_or(source.as_os_str());
        name.to_string_lossy().into_owned()
    }

    /// How many layers it changes.
    pub fn targets(&self) -> usize {
        self.targets.len()
    }

    /// The smallest and the largest rank.
    pub fn ranks(&self) -> (usize, usize) {
        let ranks = || self.targets.values().map(|target| target.rank);
        (ranks().min().unwrap_or(0), ranks().max().unwrap_or(0))
    }

    /// Bytes of its matrices in memory, in the dtype that products are computed in.
    pub fn bytes(&self, dtype: FloatDType) -> u64 {
        let elements = self.targets.values();
        let elements = elements.map(|target| target.rank * (target.input + target.output));
        (elements.sum::<usize>() * DType::from(dtype).size()) as u64
    }

    /// What it is, for a report.
    pub fn summary(&self) -> LoraSummary {
        LoraSummary::of(self)
    }

    fn check_dtypes(&self) -> Result<(), LoadError> {
        let matrices = self.targets.values();
        let mut matrices = matrices
            .flat_map(|target| [target.down, target.up])
            .map(|index| &self.entry(index).tensor);
        match matrices.find(|tensor| !is_supported(tensor.dtype)) {
            None => Ok(()),
            Some(tensor) => Err(LoadError::UnsupportedDtype {
                file: self.source().into(),
                key: Excerpt::new(&tensor.key),
                dtype: tensor.dtype,
            }),
        }
    }

    pub(super) fn entry(&self, index: usize) -> &Entry {
        &self.checkpoint.entries()[index]
    }
}

/// Sorts a file's keys by the layers that they are about.
fn found(checkpoint: &Checkpoint) -> Result<BTreeMap<String, Found>, LoadError> {
    let mut layers: BTreeMap<String, Found> = BTreeMap::new();
    let mut unsupported: BTreeMap<Method, Vec<Excerpt>> = BTreeMap::new();
    let mut text_encoder = Vec::new();
    let mut unknown = Vec::new();
    for (index, entry) in checkpoint.entries().iter().enumerate() {
        let key = &entry.tensor.key;
        let shown = Excerpt::new(key);
        let (layer, part) = match Key::parse(key) {
            Key::Part(layer, part) => (layer, part),
            Key::Unsupported(method) => {
                unsupported.entry(method).or_default().push(shown);
                continue;
            }
            Key::TextEncoder => {
                text_encoder.push(shown);
                continue;
            }
            Key::Unknown => {
                unknown.push(shown);
                continue;
            }
        };
        let found = layers.entry(layer).or_default();
        let place = match part {
            Part::Down => &mut found.down,
            Part::Up => &mut found.up,
            Part::Alpha => &mut found.alpha,
        };
        if let Some(first) = place.replace(index) {
            return Err(LoadError::SameParameter {
                file: checkpoint.source().into(),
                first: Excerpt::new(&checkpoint.entries()[first].tensor.key),
                second: shown,
            });
        }
    }
    let total = checkpoint.entries().len();
    let fault = if total == 0 {
        LoraError::Empty
    } else if unknown.len() == total && !looks_like_a_lora(checkpoint) {
        LoraError::NotALora { keys: unknown }
    } else if let Some((method, keys)) = unsupported.pop_first() {
        LoraError::Unsupported { method, keys }
    } else if !text_encoder.is_empty() {
        LoraError::TextEncoder { keys: text_encoder }
    } else if !unknown.is_empty() {
        LoraError::UnknownKeys {
            keys: unknown,
            total,
        }
    } else {
        return Ok(layers);
    };
    Err(LoadError::Lora {
        file: checkpoint.source().into(),
        fault: Box::new(fault),
    })
}

/// Whether any key is one of a LoRA, be it another model's.
pub fn looks_like_a_lora(checkpoint: &Checkpoint) -> bool {
    let mut keys = checkpoint.entries().iter().map(|entry| &entry.tensor.key);
    keys.any(|key| {
        let marks = [
            ".lora_A.",
            ".lora_B.",
            ".lora_down.",
            ".lora_up.",
            "lora_unet_",
            "lycoris_",
        ];
        marks.iter().any(|mark| key.contains(mark))
            || matches!(Key::parse(key), Key::Part(..) | Key::Unsupported(_))
    })
}

/// The values of the alphas, by entry.
fn alphas(
    checkpoint: &Checkpoint,
    found: &BTreeMap<String, Found>,
) -> Result<BTreeMap<usize, f64>, LoadError> {
    let mut alphas = BTreeMap::new();
    let indices: Vec<usize> = found.values().filter_map(|found| found.alpha).collect();
    if indices.is_empty() {
        return Ok(alphas);
    }
    let source = Source::open(checkpoint.files())?;
    for index in indices {
        let entry = &checkpoint.entries()[index];
        let fault = |reason: String| LoadError::Lora {
            file: checkpoint.source().into(),
            fault: Box::new(LoraError::Alpha {
                key: Excerpt::new(&entry.tensor.key),
                reason,
            }),
        };
        let dtype = entry.tensor.dtype;
        if entry.tensor.elements() != 1 {
            return Err(fault(format!("its shape is {:?}", entry.tensor.shape)));
        }
        let value = scalar(dtype, &source.read(entry)?);
        let value = value.ok_or_else(|| fault(format!("it is stored as {dtype}")))?;
        if !value.is_finite() {
            return Err(fault(format!("it is {value}")));
        }
        alphas.insert(index, value);
    }
    Ok(alphas)
}

/// Pairs the matrices and checks that they can be multiplied.
fn targets(
    checkpoint: &Checkpoint,
    found: BTreeMap<String, Found>,
    alphas: &BTreeMap<usize, f64>,
    settings: &Settings,
) -> Result<BTreeMap<String, Target>, LoraError> {
    let shape = |index: usize| &checkpoint.entries()[index].tensor.shape;
    let mut targets = BTreeMap::new();
    let mut unpaired = Vec::new();
    let mut misshapen = Vec::new();
    for (layer, found) in found {
        let (Some(down), Some(up)) = (found.down, found.up) else {
            unpaired.push(Excerpt::new(&layer));
            continue;
        };
        let (&[rank, input], &[output, up_rank]) = (shape(down).as_slice(), shape(up).as_slice())
        else {
            misshapen.push(Misshapen::of(&layer, shape(down), shape(up)));
            continue;
        };
        if rank != up_rank || rank == 0 {
            misshapen.push(Misshapen::of(&layer, shape(down), shape(up)));
            continue;
        }
        let alpha = found.alpha.and_then(|index| alphas.get(&index).copied());
        let scale = match alpha {
            Some(alpha) => alpha / rank as f64,
            None => settings.scale(&layer, rank),
        };
        targets.insert(
            layer,
            Target {
                down,
                up,
                rank,
                input,
                output,
                alpha,
                scale,
            },
        );
    }
    if !unpaired.is_empty() {
        return Err(LoraError::Unpaired { layers: unpaired });
    }
    if !misshapen.is_empty() {
        return Err(LoraError::Shapes { layers: misshapen });
    }
    Ok(targets)
}

impl Misshapen {
    fn of(layer: &str, down: &[usize], up: &[usize]) -> Self {
        Self {
            layer: Excerpt::new(layer),
            down: down.to_vec(),
            up: up.to_vec(),
        }
    }
}
