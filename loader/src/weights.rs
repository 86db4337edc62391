//! A checkpoint seen as one component: canonical names, dtypes and scales.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use backends::{PackedFormat, WeightFormat};
use serde_json::Value;

use crate::checkpoint::{Checkpoint, Entry, without_prefix};
use crate::component::{Component, ModelPart};
use crate::convert::is_supported;
use crate::detect::{detect, parts, prefix_in};
use crate::dialect::{AuxiliaryTensor, Dialect, DialectError, Quantization};
use crate::element::ElementType;
use crate::error::LoadError;
use crate::keymap::{KeyMap, Role, Unused};
use crate::resemblance::unknown;
use crate::scales::Scales;
use crate::text::Excerpt;

/// The parameters of one component in a checkpoint. Only headers and scales have been read.
#[derive(Clone, Debug)]
pub struct Weights {
    checkpoint: Checkpoint,
    part: ModelPart,
    dialect: Dialect,
    parameters: BTreeMap<String, Parameter>,
    unused: Vec<(usize, Unused)>,
    scales: Scales,
}

/// The place of a parameter's value, by indices into [`Checkpoint::entries`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct Parameter {
    pub(crate) entry: usize,
    pub(crate) scale: Option<usize>,
}

impl Weights {
    /// Opens the checkpoint of a component, or its part of a checkpoint of several.
    ///
    /// # Errors
    /// See [`LoadError`]: damaged files, other components than asked for, keys that are not
    /// known, contradictory quantisation, scales that are no positive numbers, dtypes that are not
    /// supported.
    pub fn open(path: &Path, component: Component) -> Result<Self, LoadError> {
        Self::of(Checkpoint::open(path)?, component)
    }

    /// The weights of a component in an opened checkpoint.
    ///
    /// # Errors
    /// The same as of [`Weights::open`].
    pub fn of(checkpoint: Checkpoint, component: Component) -> Result<Self, LoadError> {
        let file = || checkpoint.source().to_path_buf();
        let parts = parts(&checkpoint);
        let Some(&(found, _)) = parts.first() else {
            return Err(unknown(&checkpoint));
        };
        let own = parts.iter().find(|(part, _)| *part == component);
        let Some((_, prefix)) = own else {
            return Err(LoadError::WrongComponent {
                file: file(),
                expected: component,
                found,
            });
        };
        if parts.len() == 1 {
            return Self::of_part(checkpoint, component.into());
        }
        let others = parts.iter().filter(|(part, _)| *part != component);
        if let Some((second, _)) = others.clone().find(|(_, other)| other == prefix) {
            return Err(LoadError::SeveralComponents {
                file: file(),
                first: component,
                second: *second,
            });
        }
        let others: Vec<String> = others.map(|(_, prefix)| prefix.clone()).collect();
        let part = checkpoint.part(component, prefix, &others);
        Self::of_part(part, component.into())
    }

    /// Opens a checkpoint as whatever component it is.
    ///
    /// # Errors
    /// The same as of [`Weights::open`], and for a checkpoint that is none of the components.
    pub fn open_any(path: &Path) -> Result<Self, LoadError> {
        let checkpoint = Checkpoint::open(path)?;
        let component = detect(&checkpoint)?;
        Self::of_part(checkpoint, component.into())
    }

    /// The other half of a VAE's checkpoint: the encoder's weights. What is not needed of it is
    /// the decoder.
    ///
    /// # Errors
    /// [`LoadError::NoVaeEncoder`] if it has none, or this is no VAE; else as
    /// [`Weights::open`].
    pub fn vae_encoder(&self) -> Result<Self, LoadError> {
        let missing = || LoadError::NoVaeEncoder {
            file: self.source().into(),
        };
        if self.component() != Component::Vae {
            return Err(missing());
        }
        let encoder = Self::of_part(self.checkpoint.clone(), ModelPart::VaeEncoder)?;
        if encoder.parameters.is_empty() {
            return Err(missing());
        }
        Ok(encoder)
    }

    fn of_part(checkpoint: Checkpoint, part: ModelPart) -> Result<Self, LoadError> {
        let component = part.component();
        // `detect` has found the prefix; without one all keys are taken as they are.
        let prefix = prefix_in(component, &checkpoint).unwrap_or_default();
        let entries = checkpoint.entries();
        let names: Vec<&str> = entries
            .iter()
            .map(|entry| without_prefix(&entry.tensor.key, &prefix))
            .collect();
        let keymap = KeyMap::new(part, names.iter().copied());
        let is_needed = |layer: &str| {
            let role = keymap.role(&format!("{layer}.weight"));
            !matches!(role, Some(Role::Unused(_)))
        };
        let quantization = Quantization::of(&checkpoint, &prefix, &is_needed)?;
        check_idle_scales(&checkpoint, &quantization)?;

        let mut parameters: BTreeMap<String, Parameter> = BTreeMap::new();
        let mut unused = Vec::new();
        let mut unknown = Vec::new();
        for (i, (entry, name)) in entries.iter().zip(&names).enumerate() {
            if quantization.auxiliary.contains_key(&i) {
                continue;
            }
            let key = || Excerpt::new(&entry.tensor.key);
            match keymap.role(name) {
                None => unknown.push(key()),
                Some(Role::Unused(reason)) => unused.push((i, reason)),
                Some(Role::Parameter(canonical)) => {
                    if !is_supported(entry.tensor.dtype) {
                        return Err(LoadError::UnsupportedDtype {
                            file: entry_file(&checkpoint, entry),
                            key: key(),
                            dtype: entry.tensor.dtype,
                        });
                    }
                    let scale = quantization.scales.get(&i).copied();
                    let parameter = Parameter { entry: i, scale };
                    if let Some(first) = parameters.insert(canonical, parameter) {
                        return Err(LoadError::SameParameter {
                            file: checkpoint.source().into(),
                            first: Excerpt::new(&entries[first.entry].tensor.key),
                            second: key(),
                        });
                    }
                }
            }
        }
        if !unknown.is_empty() {
            return Err(LoadError::UnknownKeys {
                file: checkpoint.source().into(),
                component,
                keys: unknown,
            });
        }
        unused.extend(unused_auxiliary(&quantization, &parameters));
        unused.sort_unstable();
        let scales = parameters.values().filter_map(|parameter| parameter.scale);
        Ok(Self {
            scales: Scales::read(&checkpoint, scales)?,
            part,
            dialect: quantization.dialect,
            parameters,
            unused,
            checkpoint,
        })
    }

    /// Which model this is.
    pub fn component(&self) -> Component {
        self.part.component()
    }

    /// Which part of the model this is.
    pub fn part(&self) -> ModelPart {
        self.part
    }

    /// How its FP8 weights are scaled.
    pub fn dialect(&self) -> Dialect {
        self.dialect
    }

    /// The shape in the file of the tensor with a canonical name.
    pub fn shape(&self, canonical: &str) -> Option<&[usize]> {
        let parameter = self.parameters.get(canonical)?;
        Some(&self.entry(parameter.entry).tensor.shape)
    }

    /// How to store a rank-2 weight: as the file does. Tensors that are of another rank, or not
    /// there, are dense.
    pub fn format(&self, canonical_weight: &str) -> WeightFormat {
        self.parameters
            .get(canonical_weight)
            .map(|parameter| &self.entry(parameter.entry).tensor)
            .filter(|tensor| tensor.shape.len() == 2)
            .and_then(|tensor| tensor.dtype.fp8_format())
            .map_or(WeightFormat::Dense, |format| {
                WeightFormat::Packed(PackedFormat::Fp8(format))
            })
    }

    /// The canonical names of all parameters, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.parameters.keys().map(String::as_str)
    }

    /// The model's config: from the file's metadata, or else from its config.json.
    pub fn config(&self) -> Option<&Value> {
        self.checkpoint.config()
    }

    /// The path it was opened by.
    pub fn source(&self) -> &Path {
        self.checkpoint.source()
    }

    /// The files behind it.
    pub fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }

    pub(crate) fn entry(&self, index: usize) -> &Entry {
        &self.checkpoint.entries()[index]
    }

    pub(crate) fn parameters(&self) -> &BTreeMap<String, Parameter> {
        &self.parameters
    }

    /// The values of the scales.
    pub(crate) fn scales(&self) -> &Scales {
        &self.scales
    }

    /// The tensors that are not loaded, and why.
    pub(crate) fn unused(&self) -> &[(usize, Unused)] {
        &self.unused
    }

    /// The tensors that are loaded: parameters and their scales.
    pub(crate) fn used(&self) -> impl Iterator<Item = &Entry> {
        self.parameters
            .values()
            .flat_map(|parameter| [Some(parameter.entry), parameter.scale])
            .flatten()
            .map(|index| self.entry(index))
    }
}

/// Refuses scales other than 1 of weights that are not FP8.
fn check_idle_scales(
    checkpoint: &Checkpoint,
    quantization: &Quantization,
) -> Result<(), LoadError> {
    let idle = &quantization.idle;
    let scales = Scales::read(checkpoint, idle.iter().copied())?;
    for &index in idle {
        let values = scales.values(Some(index)).iter();
        let key = checkpoint.entries()[index].tensor.key.as_str();
        if let Some(value) = values.copied().find(|&value| value != 1.0) {
            return Err(LoadError::Dialect {
                file: checkpoint.source().into(),
                fault: DialectError::ScaleOnDense {
                    key: key.into(),
                    dtype: weight_of(checkpoint, key).unwrap_or(ElementType::BF16),
                    value,
                },
            });
        }
    }
    Ok(())
}

/// The dtype of the weight that a scale of this name is of.
fn weight_of(checkpoint: &Checkpoint, scale: &str) -> Option<ElementType> {
    let (layer, _) = scale.rsplit_once('.')?;
    let weight = checkpoint.find(&format!("{layer}.weight"))?;
    Some(checkpoint.entries()[weight].tensor.dtype)
}

fn entry_file(checkpoint: &Checkpoint, entry: &Entry) -> PathBuf {
    checkpoint.files()[entry.file].path.clone()
}

/// The tensors about other tensors that no parameter needs.
fn unused_auxiliary(
    quantization: &Quantization,
    parameters: &BTreeMap<String, Parameter>,
) -> Vec<(usize, Unused)> {
    let used: BTreeSet<usize> = parameters.values().filter_map(|p| p.scale).collect();
    let auxiliary = quantization.auxiliary.iter();
    auxiliary
        .filter_map(|(&index, auxiliary)| {
            let reason = match auxiliary {
                AuxiliaryTensor::Marker | AuxiliaryTensor::Format => Unused::Marker,
                AuxiliaryTensor::ActivationScale => Unused::ActivationScale,
                AuxiliaryTensor::WeightScale if used.contains(&index) => return None,
                AuxiliaryTensor::WeightScale => Unused::UnusedLayerScale,
            };
            Some((index, reason))
        })
        .collect()
}
