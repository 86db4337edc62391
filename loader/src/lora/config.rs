//! PEFT's `adapter_config.json`, which lies beside the matrices, and what settings do to them.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::error::{LoraError, SettingsPlace};
use super::keys::PEFT_PREFIX;
use super::layers::Product;
use super::note::{ConfigUnused, LoraNote};
use super::settings::{METADATA, Settings};
use super::summary::extremes;
use crate::checkpoint::{CheckpointFile, json_text};
use crate::error::LoadError;
use crate::text::Excerpt;

/// PEFT's file of settings.
const CONFIG: &str = "adapter_config.json";
/// PEFT's file of matrices.
pub(super) const PEFT_FILE: &str = "adapter_model.safetensors";

/// A LoRA's products by layer.
type Products = BTreeMap<String, Product>;

/// The facts about a LoRA's file that are known before its products are scaled.
pub(super) struct Origin<'a> {
    /// The file of the matrices.
    pub(super) file: &'a CheckpointFile,
    /// True if its matrices have PEFT's names.
    pub(super) peft: bool,
    /// True if PEFT itself wrote it, so that a config beside it is its own.
    pub(super) own: bool,
}

/// The outcome of scaling the products.
#[derive(Default)]
pub(super) struct Scaled {
    /// Facts that the user should know.
    pub(super) notes: Vec<LoraNote>,
    /// The config beside the LoRA, if it was followed.
    pub(super) config: Option<PathBuf>,
}

/// Scales the products that have no alpha of their own: by the settings in the header, else by
/// those beside the file; without either the scale stays 1.
///
/// # Errors
/// Settings that cannot be followed, or are another LoRA's.
pub(super) fn scale(products: &mut Products, origin: Origin<'_>) -> Result<Scaled, LoadError> {
    let mut scaled = Scaled::default();
    if products
        .values()
        .all(|product| product.target.alpha.is_some())
    {
        return Ok(scaled);
    }
    let file = origin.file.path.as_path();
    let fault = |fault| LoadError::Lora {
        file: file.to_path_buf(),
        fault: Box::new(fault),
    };
    let own = origin.own || file.file_name() == Some(PEFT_FILE.as_ref());
    let header = origin.file.text(METADATA);
    let header = header.map(Settings::in_header).transpose();
    let header = header.map_err(fault)?.flatten();
    let path = file.with_file_name(CONFIG);
    let beside = if origin.peft && path.is_file() {
        match json_text(&path).and_then(|text| Settings::in_config(&text).map_err(fault)) {
            Ok(beside) => beside,
            Err(error) if own && header.is_none() => return Err(error),
            Err(error) => {
                let message = match &error {
                    LoadError::Lora { fault, .. } => Excerpt::new(&fault.to_string()),
                    error => Excerpt::new(&error.to_string()),
                };
                let reason = ConfigUnused::Unreadable { message };
                scaled.notes.push(LoraNote::ConfigUnused { reason });
                None
            }
        }
    } else {
        None
    };
    if let Some(settings) = &header {
        let plan = plan(products, settings).map_err(fault)?;
        if let Some(beside) = beside
            && otherwise(products, &beside, &plan.scales)
        {
            let reason = ConfigUnused::Header;
            scaled.notes.push(LoraNote::ConfigUnused { reason });
        }
        apply(products, plan.scales);
        if let Some(other) = plan.other_rank {
            scaled.notes.push(other.note(SettingsPlace::Header));
        }
        return Ok(scaled);
    }
    let Some(settings) = beside else {
        return Ok(scaled);
    };
    let plan = plan(products, &settings).map_err(fault)?;
    let reason = match plan.other_rank {
        Some(other) if own => return Err(fault(other.error())),
        Some(_) => ConfigUnused::Ranks,
        None if !own && file.with_file_name(PEFT_FILE).is_file() => ConfigUnused::AnotherFile,
        None => {
            let scale = extremes(plan.scales.iter().map(|(_, scale)| *scale));
            scaled.notes.push(LoraNote::Config { scale });
            scaled.config = Some(path);
            apply(products, plan.scales);
            return Ok(scaled);
        }
    };
    scaled.notes.push(LoraNote::ConfigUnused { reason });
    Ok(scaled)
}

/// The effect that settings would have.
struct Plan {
    /// Alpha and scale of each layer without an alpha of its own, in their order.
    scales: Vec<(f64, f64)>,
    /// A layer whose rank they tell otherwise.
    other_rank: Option<OtherRank>,
}

struct OtherRank {
    layer: String,
    told: f64,
    found: usize,
}

impl OtherRank {
    fn note(self, place: SettingsPlace) -> LoraNote {
        LoraNote::Rank {
            place,
            layer: Excerpt::new(&self.layer),
            told: self.told,
            found: self.found,
        }
    }

    fn error(self) -> LoraError {
        LoraError::OtherRank {
            layer: Excerpt::new(&self.layer),
            told: self.told,
            found: self.found,
        }
    }
}

fn plan(products: &Products, settings: &Settings) -> Result<Plan, LoraError> {
    let mut plan = Plan {
        scales: Vec::new(),
        other_rank: None,
    };
    for (layer, product) in products {
        let (names, target) = (names(settings, layer, product), &product.target);
        let rank = settings.rank(&names)?;
        if let Some(told) = rank.filter(|&told| told != target.rank as f64)
            && plan.other_rank.is_none()
        {
            plan.other_rank = Some(OtherRank {
                layer: layer.clone(),
                told,
                found: target.rank,
            });
        }
        if target.alpha.is_none() {
            let alpha = settings.alpha(&names)?;
            plan.scales
                .push((alpha, settings.scale(alpha, target.rank)));
        }
    }
    Ok(plan)
}

/// A layer's names in tables. diffusers drops what stands before the layer, and PEFT its own prefix
/// alone: a program that trained a part of a larger module has that part's name before the layer's.
/// The name that stood in the place of another program's prefix is not known.
fn names<'a>(settings: &Settings, layer: &'a str, product: &'a Product) -> Vec<&'a str> {
    let path = product.path.as_str();
    match (settings.place(), path.strip_prefix(PEFT_PREFIX)) {
        (SettingsPlace::Header, _) => vec![layer],
        (SettingsPlace::Config, Some(path)) => vec![path],
        (SettingsPlace::Config, None) => vec![layer, path],
    }
}

/// Tells whether settings would scale otherwise.
fn otherwise(products: &Products, settings: &Settings, scales: &[(f64, f64)]) -> bool {
    plan(products, settings).is_ok_and(|plan| plan.scales != scales)
}

fn apply(products: &mut Products, scales: Vec<(f64, f64)>) {
    let targets = products.values_mut().map(|product| &mut product.target);
    let without = targets.filter(|target| target.alpha.is_none());
    for (target, (alpha, scale)) in without.zip(scales) {
        target.alpha = Some(alpha);
        target.scale = scale;
    }
}
