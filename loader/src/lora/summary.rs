//! A LoRA in figures.

use std::collections::BTreeMap;

use serde::Serialize;

use super::Lora;
use crate::summary::Share;

/// A LoRA's description, as `inspect` shows it.
#[derive(Clone, Debug, Serialize)]
pub struct LoraSummary {
    /// The path as given.
    pub source: String,
    /// `lora`, beside the components of other files.
    pub component: &'static str,
    /// Number of tensors.
    pub tensors: usize,
    /// Bytes of all tensors.
    pub bytes: u64,
    /// Tensors and bytes by dtype.
    pub dtypes: BTreeMap<String, Share>,
    /// How many layers it changes.
    pub targets: usize,
    /// The same by kind of layer: names with `*` for a block's number.
    pub layers: BTreeMap<String, usize>,
    /// How many layers have which rank.
    pub ranks: BTreeMap<usize, usize>,
    /// The smallest and the largest alpha, of the file or of PEFT's settings, and how many layers
    /// have one.
    pub alpha: Option<Alpha>,
    /// The smallest and the largest scale: alpha over the rank, or 1 without an alpha.
    pub scale: [f64; 2],
    /// Facts about it that may surprise.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// The alphas of a LoRA.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Alpha {
    /// The smallest.
    pub least: f64,
    /// The largest.
    pub most: f64,
    /// How many layers have one.
    pub layers: usize,
}

impl LoraSummary {
    pub(super) fn of(lora: &Lora) -> Self {
        let mut dtypes: BTreeMap<String, Share> = BTreeMap::new();
        let entries = lora.checkpoint.entries();
        for entry in entries {
            let share = dtypes.entry(entry.tensor.dtype.to_string()).or_default();
            share.tensors += 1;
            share.bytes += entry.tensor.bytes();
        }
        let mut layers = BTreeMap::new();
        let mut ranks = BTreeMap::new();
        for (layer, target) in &lora.targets {
            *layers.entry(kind(layer)).or_default() += 1;
            *ranks.entry(target.rank).or_default() += 1;
        }
        let alphas: Vec<f64> = lora.targets.values().filter_map(|t| t.alpha).collect();
        let [least, most] = extremes(alphas.iter().copied());
        Self {
            source: lora.source().to_string_lossy().into_owned(),
            component: "lora",
            tensors: entries.len(),
            bytes: dtypes.values().map(|share| share.bytes).sum(),
            dtypes,
            targets: lora.targets.len(),
            layers,
            ranks,
            alpha: (!alphas.is_empty()).then_some(Alpha {
                least,
                most,
                layers: alphas.len(),
            }),
            scale: extremes(lora.targets.values().map(|target| target.scale)),
            notes: lora.notes.iter().map(ToString::to_string).collect(),
        }
    }
}

/// A layer's name without its block's number.
fn kind(layer: &str) -> String {
    let block = layer.strip_prefix("transformer_blocks.");
    match block.and_then(|block| block.split_once('.')) {
        Some((_, rest)) => format!("transformer_blocks.*.{rest}"),
        None => layer.to_owned(),
    }
}

/// The smallest and the largest; infinite without any.
pub(super) fn extremes(values: impl Iterator<Item = f64>) -> [f64; 2] {
    values.fold(
        [f64::INFINITY, f64::NEG_INFINITY],
        |[least, most], value| [least.min(value), most.max(value)],
    )
}
