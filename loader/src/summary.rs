//! A checkpoint in figures.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::component::Component;
use crate::dialect::Dialect;
use crate::keymap::Unused;
use crate::plan::Footprint;
use crate::weights::Weights;

/// A checkpoint's description, as `inspect` shows it.
#[derive(Clone, Debug, Serialize)]
pub struct Summary {
    /// The path as given.
    pub source: String,
    /// Which model it is.
    pub component: Component,
    /// How its FP8 weights are scaled.
    pub dialect: Dialect,
    /// Its files.
    pub files: Vec<FileSummary>,
    /// Number of tensors in all files.
    pub tensors: usize,
    /// Number of tensors that are loaded, scales included.
    pub used: usize,
    /// Bytes in the files of the tensors that are loaded.
    pub used_bytes: u64,
    /// Number of tensors that are known and not loaded, by reason.
    pub unused: BTreeMap<Unused, usize>,
    /// Tensors and bytes by dtype.
    pub dtypes: BTreeMap<String, Share>,
    /// Bytes of all tensors.
    pub bytes: u64,
    /// Bytes in memory once loaded.
    pub footprint: Footprint,
}

/// One file of a checkpoint.
#[derive(Clone, Debug, Serialize)]
pub struct FileSummary {
    /// Its path.
    pub path: String,
    /// Its size in bytes.
    pub bytes: u64,
}

/// A part of the tensors.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Share {
    /// Their number.
    pub tensors: usize,
    /// Their bytes.
    pub bytes: u64,
}

impl Summary {
    /// Describes a checkpoint's weights.
    pub fn of(weights: &Weights) -> Self {
        let checkpoint = weights.checkpoint();
        let mut dtypes: BTreeMap<String, Share> = BTreeMap::new();
        for entry in checkpoint.entries() {
            let share = dtypes.entry(entry.tensor.dtype.to_string()).or_default();
            share.tensors += 1;
            share.bytes += entry.tensor.bytes();
        }
        let mut unused = BTreeMap::new();
        for (_, reason) in weights.unused() {
            *unused.entry(*reason).or_default() += 1;
        }
        let files = checkpoint.files().iter().map(|file| FileSummary {
            path: file.path.to_string_lossy().into_owned(),
            bytes: file.version().len,
        });
        Self {
            source: weights.source().to_string_lossy().into_owned(),
            component: weights.component(),
            dialect: weights.dialect(),
            files: files.collect(),
            tensors: checkpoint.entries().len(),
            used: weights.used().count(),
            used_bytes: weights.used().map(|entry| entry.tensor.bytes()).sum(),
            unused,
            bytes: dtypes.values().map(|share| share.bytes).sum(),
            dtypes,
            footprint: Footprint::of(weights),
        }
    }
}
