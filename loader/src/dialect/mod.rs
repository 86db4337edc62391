//! How a checkpoint writes FP8 weights and their scales.
//!
//! An FP8 weight is `decode(code) * scale` with one scale for each tensor, or for each of its rows.
//! There are, per layer:
//! * plain FP8: no scale, that is 1;
//! * legacy scaled: `<layer>.scale_weight`, and a marker tensor `scaled_fp8` in the file;
//! * comfy_quant: `<layer>.weight_scale`, and JSON bytes `<layer>.comfy_quant` with the format;
//! * the same with the formats in the header's metadata, `_quantization_metadata`.
//!
//! Scales for activations (`scale_input`, `input_scale`) are known and ignored. Sources: ComfyUI's
//! QUANTIZATION.md, and for the legacy kind the files themselves.

mod fault;
mod formats;

use std::collections::BTreeMap;
use std::fmt;

use backends::fp8::Fp8Format;
use serde::Serialize;

pub use fault::DialectError;
use formats::{check_formats, comfy_formats, format_name, metadata_formats};

use crate::checkpoint::{Checkpoint, Entry, without_prefix};
use crate::element::ElementType;
use crate::error::LoadError;
use crate::text::Excerpt;

const MARKER: &str = "scaled_fp8";

/// How the FP8 weights of a checkpoint are scaled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Dialect {
    /// No FP8 tensors.
    Dense,
    /// FP8 tensors without scales.
    PlainFp8,
    /// `scaled_fp8` and `.scale_weight`.
    LegacyScaled,
    /// `.weight_scale` alone.
    WeightScale,
    /// `.weight_scale` and `.comfy_quant`.
    ComfyQuant,
    /// `.weight_scale` and `_quantization_metadata`.
    QuantizationMetadata,
}

impl fmt::Display for Dialect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Dense => "dense",
            Self::PlainFp8 => "plain FP8",
            Self::LegacyScaled => "scaled FP8 (scale_weight)",
            Self::WeightScale => "scaled FP8 (weight_scale)",
            Self::ComfyQuant => "scaled FP8 (comfy_quant)",
            Self::QuantizationMetadata => "scaled FP8 (_quantization_metadata)",
        })
    }
}

/// A tensor that says something about another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AuxiliaryTensor {
    Marker,
    WeightScale,
    ActivationScale,
    Format,
}

/// The quantisation of one checkpoint. Indices are those of [`Checkpoint::entries`].
#[derive(Clone, Debug)]
pub(crate) struct Quantization {
    pub(crate) dialect: Dialect,
    /// Which entries are not model tensors.
    pub(crate) auxiliary: BTreeMap<usize, AuxiliaryTensor>,
    /// Scale by weight.
    pub(crate) scales: BTreeMap<usize, usize>,
    /// Scales of weights that are not FP8, which must be 1.
    pub(crate) idle: Vec<usize>,
}

/// Whether a layer is needed, by its name without prefix: what is wrong with the quantisation of
/// another, such as one of the vision tower, does not matter.
pub(crate) type IsNeeded<'a> = &'a dyn Fn(&str) -> bool;

/// Signs of quantisation found in a checkpoint, by layer without prefix.
#[derive(Default)]
struct Signs<'a> {
    marker: bool,
    scale_weight: Vec<(&'a str, usize)>,
    weight_scale: Vec<(&'a str, usize)>,
    comfy_quant: Vec<(&'a str, usize)>,
    unsupported: Option<&'a str>,
    auxiliary: BTreeMap<usize, AuxiliaryTensor>,
    weights: BTreeMap<&'a str, usize>,
}

impl Quantization {
    /// Finds the dialect of a checkpoint whose keys may begin with `prefix`, and the scale of each
    /// weight that is needed. Reads the bytes of `comfy_quant` tensors, and no others.
    pub(crate) fn of(
        checkpoint: &Checkpoint,
        prefix: &str,
        is_needed: IsNeeded<'_>,
    ) -> Result<Self, LoadError> {
        let fault = |fault| LoadError::Dialect {
            file: checkpoint.source().into(),
            fault,
        };
        let entries = checkpoint.entries();
        let signs = Signs::collect(entries, prefix, is_needed);
        let mut formats = comfy_formats(checkpoint, &signs)?;
        let in_metadata = metadata_formats(checkpoint, prefix, is_needed).map_err(fault)?;
        let dialect = signs
            .dialect(entries, !in_metadata.is_empty())
            .map_err(fault)?;
        formats.extend(in_metadata);
        let formats = check_formats(&formats).map_err(fault)?;
        if let Some(key) = signs.unsupported {
            let key = Excerpt::new(key);
            return Err(fault(DialectError::UnsupportedTensor { key }));
        }
        let (scales, idle) = signs.scales(entries, &formats, dialect).map_err(fault)?;
        Ok(Self {
            dialect,
            auxiliary: signs.auxiliary,
            scales,
            idle,
        })
    }
}

impl<'a> Signs<'a> {
    fn collect(entries: &'a [Entry], prefix: &str, is_needed: IsNeeded<'_>) -> Self {
        const UNSUPPORTED: [&str; 4] = [
            ".weight_scale_2",
            ".weight_scale_inv",
            ".weight_zero_point",
            ".qweight",
        ];
        let mut signs = Self::default();
        for (i, entry) in entries.iter().enumerate() {
            let full = entry.tensor.key.as_str();
            let key = without_prefix(full, prefix);
            let mut keep = |list: fn(&mut Self) -> &mut Vec<(&'a str, usize)>, layer| {
                if is_needed(layer) {
                    list(&mut signs).push((layer, i));
                }
            };
            let auxiliary = if key == MARKER {
                signs.marker = true;
                AuxiliaryTensor::Marker
            } else if let Some(layer) = key.strip_suffix(".scale_weight") {
                keep(|signs| &mut signs.scale_weight, layer);
                AuxiliaryTensor::WeightScale
            } else if let Some(layer) = key.strip_suffix(".weight_scale") {
                keep(|signs| &mut signs.weight_scale, layer);
                AuxiliaryTensor::WeightScale
            } else if key.ends_with(".scale_input") || key.ends_with(".input_scale") {
                AuxiliaryTensor::ActivationScale
            } else if let Some(layer) = key.strip_suffix(".comfy_quant") {
                keep(|signs| &mut signs.comfy_quant, layer);
                AuxiliaryTensor::Format
            } else {
                let mut unsupported = UNSUPPORTED.iter();
                let layer = unsupported.find_map(|suffix| key.strip_suffix(suffix));
                if layer.is_some_and(is_needed) {
                    signs.unsupported.get_or_insert(full);
                }
                if let Some(layer) = key.strip_suffix(".weight").filter(|layer| is_needed(layer)) {
                    signs.weights.insert(layer, i);
                }
                continue;
            };
            signs.auxiliary.insert(i, auxiliary);
        }
        signs
    }

    fn dialect(&self, entries: &[Entry], metadata: bool) -> Result<Dialect, DialectError> {
        let signs = [
            (self.marker, "a scaled_fp8 marker"),
            (!self.scale_weight.is_empty(), "scale_weight tensors"),
            (!self.weight_scale.is_empty(), "weight_scale tensors"),
            (!self.comfy_quant.is_empty(), "comfy_quant tensors"),
            (metadata, "_quantization_metadata"),
        ];
        const EXCLUSIVE: [(usize, usize); 7] =
            [(0, 3), (0, 4), (0, 2), (1, 3), (1, 4), (1, 2), (3, 4)];
        for (a, b) in EXCLUSIVE {
            let ((first_there, first), (second_there, second)) = (signs[a], signs[b]);
            if first_there && second_there {
                return Err(DialectError::Contradiction { first, second });
            }
        }
        let fp8 = |entry: &Entry| entry.tensor.dtype.fp8_format().is_some();
        Ok(match signs.map(|(there, _)| there) {
            [_, _, _, true, _] => Dialect::ComfyQuant,
            [_, _, _, _, true] => Dialect::QuantizationMetadata,
            [_, _, true, _, _] => Dialect::WeightScale,
            [true, ..] | [_, true, ..] => Dialect::LegacyScaled,
            _ if entries.iter().any(fp8) => Dialect::PlainFp8,
            _ => Dialect::Dense,
        })
    }

    /// The scale of each weight that has one, checked against what the file says of its layers, and
    /// the scales of weights that are not FP8.
    fn scales(
        &self,
        entries: &[Entry],
        formats: &BTreeMap<&str, Fp8Format>,
        dialect: Dialect,
    ) -> Result<(BTreeMap<usize, usize>, Vec<usize>), DialectError> {
        let declares = matches!(dialect, Dialect::ComfyQuant | Dialect::QuantizationMetadata);
        let (mut scales, mut idle) = (BTreeMap::new(), Vec::new());
        for &(layer, scale) in self.scale_weight.iter().chain(&self.weight_scale) {
            let tensor = &entries[scale].tensor;
            let key = Excerpt::new(&tensor.key);
            let Some(&weight) = self.weights.get(layer) else {
                return Err(DialectError::ScaleWithoutWeight { key });
            };
            if !matches!(
                tensor.dtype,
                ElementType::F32 | ElementType::F64 | ElementType::F16 | ElementType::BF16
            ) {
                let dtype = tensor.dtype;
                return Err(DialectError::ScaleDtype { key, dtype });
            }
            let scaled = &entries[weight].tensor;
            if !is_for_tensor_or_rows(&tensor.shape, &scaled.shape) {
                let shape = tensor.shape.clone();
                return Err(DialectError::ScaleShape { key, shape });
            }
            if scaled.dtype.fp8_format().is_none() {
                idle.push(scale);
                continue;
            }
            if declares && !formats.contains_key(layer) {
                return Err(DialectError::ScaleWithoutFormat { key });
            }
            if scales.insert(weight, scale).is_some() {
                let layer = layer.into();
                return Err(DialectError::TwoScales { layer });
            }
        }
        for (&layer, &format) in formats {
            let Some(&weight) = self.weights.get(layer) else {
                let layer = layer.into();
                return Err(DialectError::FormatWithoutWeight { layer });
            };
            let dtype = entries[weight].tensor.dtype;
            if dtype.fp8_format() != Some(format) {
                return Err(DialectError::FormatMismatch {
                    layer: layer.into(),
                    format: format_name(format),
                    dtype,
                });
            }
        }
        let scaled = !matches!(dialect, Dialect::Dense | Dialect::PlainFp8);
        let unscaled = self.weights.values().find(|&weight| {
            let tensor = &entries[*weight].tensor;
            let matrix = tensor.shape.len() >= 2 && tensor.dtype.fp8_format().is_some();
            scaled && matrix && !scales.contains_key(weight)
        });
        match unscaled {
            Some(&weight) => Err(DialectError::MissingScale {
                key: Excerpt::new(&entries[weight].tensor.key),
            }),
            None => Ok((scales, idle)),
        }
    }
}

/// Tells whether a scale's shape is that of one number, or of one for each row of a weight `[out,
/// ..]`:
/// `[out]`, `[out, 1]` and so on.
fn is_for_tensor_or_rows(scale: &[usize], weight: &[usize]) -> bool {
    let one = |dims: &[usize]| dims.iter().all(|&dim| dim == 1);
    one(scale)
        || match (scale, weight) {
            ([rows, rest @ ..], [out, ..]) => rows == out && *rows > 0 && one(rest),
            _ => false,
        }
}
