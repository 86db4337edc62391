//! LoRA files: low-rank products beside the transformer's linear layers.
//!
//! A file is opened by its header ([`Lora`]), several with their weights are fitted to a
//! transformer and stacked ([`Adapters`]), and [`load_adapters`] brings the stacks to a device.
//! Nothing is merged into the transformer's weights: in FP8, most of a small difference would be
//! lost in rounding.

mod adapters;
mod alpha;
mod config;
mod error;
mod field;
mod folder;
pub(crate) mod keys;
mod layers;
mod lightning;
mod load;
mod note;
mod pattern;
mod settings;
mod summary;
mod text_encoder;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use burn::tensor::{DType, FloatDType};

pub use adapters::Adapters;
pub use error::{AdapterMethod, LoraError, OtherSize, SettingsPlace, UnmatchedMatrices};
pub use folder::{check, find_by_name, fitting, locate};
pub use keys::looks_like_a_lora;
pub use lightning::{find_lightning, lightning_steps};
pub use load::{LoadedAdapters, load_adapters};
pub use note::{ConfigUnused, LoraNote};
pub use summary::LoraSummary;

use crate::checkpoint::{Checkpoint, Entry};
use crate::convert::is_supported;
use crate::error::LoadError;
use crate::text::Excerpt;
use config::Origin;
use layers::Layers;

/// A LoRA for the transformer. Its header and its alphas have been read.
#[derive(Clone, Debug)]
pub struct Lora {
    source: PathBuf,
    checkpoint: Checkpoint,
    targets: BTreeMap<String, TargetLayer>,
    notes: Vec<LoraNote>,
    config: Option<PathBuf>,
}

/// A low-rank product beside one layer. Indices are those of [`Checkpoint::entries`].
#[derive(Clone, Copy, Debug)]
pub(super) struct TargetLayer {
    pub(super) down: usize,
    pub(super) up: usize,
    pub(super) rank: usize,
    /// Input features of the layer.
    pub(super) input: usize,
    /// Output features of the layer.
    pub(super) output: usize,
    /// Its alpha, where the file or PEFT's settings have one.
    pub(super) alpha: Option<f64>,
    /// The factor that the product is scaled by.
    pub(super) scale: f64,
}

impl Lora {
    /// Opens a LoRA file, or a folder with one in it.
    ///
    /// The products are scaled by alpha over the rank wherever the file has an alpha, as ComfyUI
    /// does it; without one, by what PEFT's settings say, in the file's header or in the
    /// `adapter_config.json` beside it; and else by 1.
    ///
    /// # Errors
    /// [`LoadError::Lora`] for what is not a LoRA for this transformer, or not a plain one;
    /// [`LoadError::UnsupportedDtype`]; damaged files.
    pub fn open(path: &Path) -> Result<Self, LoadError> {
        let checkpoint = match folder::file_in(path)? {
            Some(file) => Checkpoint::open(&file)?,
            None => Checkpoint::open(path)?,
        };
        let layers = Layers::of(&checkpoint)?;
        let mut notes = Vec::new();
        if layers.text_encoder > 0 {
            let tensors = layers.text_encoder;
            notes.push(LoraNote::TextEncoder { tensors });
        }
        let (peft, own) = (layers.peft, layers.peft_prefix || path.is_dir());
        let mut products = layers.products(&checkpoint)?;
        let scaled = config::scale(
            &mut products,
            Origin {
                file: &checkpoint.files()[0],
                peft,
                own,
            },
        )?;
        notes.extend(scaled.notes);
        let lora = Self {
            source: path.to_path_buf(),
            checkpoint,
            targets: products
                .into_iter()
                .map(|(layer, product)| (layer, product.target))
                .collect(),
            notes,
            config: scaled.config,
        };
        lora.check_dtypes()?;
        Ok(lora)
    }

    /// The path it was opened by.
    pub fn source(&self) -> &Path {
        &self.source
    }

    /// The files that it is read from: that of its matrices, and PEFT's settings beside it where
    /// they scale it.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        let files = self.checkpoint.files().iter();
        let files = files.map(|file| file.path.as_path());
        files.chain(self.config.as_deref())
    }

    /// Its name: that of the folder, or that of the file without its ending.
    pub fn name(&self) -> String {
        if self.source.is_dir() {
            return self.file_name();
        }
        let name = self.source.file_stem().unwrap_or(self.source.as_os_str());
        name.to_string_lossy().into_owned()
    }

    /// The name of its file or folder.
    pub fn file_name(&self) -> String {
        let name = self.source.file_name().unwrap_or(self.source.as_os_str());
        name.to_string_lossy().into_owned()
    }

    /// Facts about it that a user should know.
    pub fn notes(&self) -> &[LoraNote] {
        &self.notes
    }

    /// For how many steps it was distilled, if it is a Lightning LoRA by its file's name or by a
    /// title in its header.
    pub fn lightning_steps(&self) -> Option<usize> {
        let files = [self.source()].into_iter().chain(self.files());
        let by_name = files.filter_map(lightning_steps).next();
        let files = self.checkpoint.files().iter();
        let mut titles = files.flat_map(|file| {
            let keys = ["modelspec.title", "ss_output_name", "title", "name"];
            keys.into_iter().filter_map(|key| file.text(key))
        });
        by_name.or_else(|| titles.find_map(lightning::steps_in_name))
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

    /// Its description for a report.
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
