//! Sorts a file's tensors by the layers that they are about, and pairs them.

use std::collections::{BTreeMap, BTreeSet};

use super::TargetLayer;
use super::alpha::scalar;
use super::error::{AdapterMethod, LoraError, UnmatchedMatrices};
use super::keys::{Key, Named, PEFT_PREFIX, Part, looks_like_a_lora};
use crate::checkpoint::Checkpoint;
use crate::error::LoadError;
use crate::source::Source;
use crate::text::Excerpt;

/// The tensors of a file that are for the transformer.
#[derive(Debug, Default)]
pub(super) struct Layers {
    /// The tensors by layer.
    found: BTreeMap<String, Found>,
    /// Tensors for the text encoder.
    pub(super) text_encoder: usize,
    /// True if the matrices have PEFT's names, `lora_A` and `lora_B`.
    pub(super) peft: bool,
    /// True if every key of a matrix begins as PEFT writes it.
    pub(super) peft_prefix: bool,
}

/// A product beside a layer.
#[derive(Debug)]
pub(super) struct Product {
    /// The layer as the file names it.
    pub(super) path: String,
    /// The product.
    pub(super) target: TargetLayer,
}

/// The tensors found for a layer.
#[derive(Debug, Default)]
struct Found {
    /// The layer as the file names it.
    path: String,
    down: Option<usize>,
    up: Option<usize>,
    alpha: Option<usize>,
}

impl Layers {
    /// Sorts a file's keys.
    ///
    /// # Errors
    /// The file is not a plain LoRA for a Qwen-Image transformer.
    pub(super) fn of(checkpoint: &Checkpoint) -> Result<Self, LoadError> {
        let mut layers = Self {
            peft: true,
            peft_prefix: true,
            ..Self::default()
        };
        let mut unsupported: BTreeMap<AdapterMethod, Vec<Excerpt>> = BTreeMap::new();
        let mut adapters = BTreeSet::new();
        let (mut text_encoder, mut unknown) = (Vec::new(), Vec::new());
        for (index, entry) in checkpoint.entries().iter().enumerate() {
            let key = &entry.tensor.key;
            match Key::parse(key) {
                Key::Part(mut named) => {
                    adapters.extend(named.adapter.take());
                    if named.part != Part::Alpha {
                        layers.peft &= named.peft;
                        layers.peft_prefix &= key.starts_with(PEFT_PREFIX);
                    }
                    layers.add(named, index, checkpoint)?;
                }
                Key::Unsupported(method) => {
                    unsupported.entry(method).or_default().push(key.into());
                }
                Key::TextEncoder => text_encoder.push(Excerpt::new(key)),
                Key::Unknown => unknown.push(Excerpt::new(key)),
            }
        }
        let total = checkpoint.entries().len();
        layers.text_encoder = text_encoder.len();
        let fault = if total == 0 {
            LoraError::Empty
        } else if unknown.len() == total && !looks_like_a_lora(checkpoint) {
            LoraError::NotALora { keys: unknown }
        } else if let Some((method, keys)) = unsupported.pop_first() {
            LoraError::Unsupported { method, keys }
        } else if !unknown.is_empty() {
            LoraError::UnknownKeys {
                keys: unknown,
                total,
            }
        } else if layers.found.is_empty() {
            LoraError::TextEncoder { keys: text_encoder }
        } else if adapters.len() > 1 {
            let adapters = adapters.iter().map(Excerpt::from);
            LoraError::SeveralAdapters {
                adapters: adapters.collect(),
            }
        } else {
            return Ok(layers);
        };
        Err(LoadError::Lora {
            file: checkpoint.source().into(),
            fault: Box::new(fault),
        })
    }

    fn add(
        &mut self,
        named: Named,
        index: usize,
        checkpoint: &Checkpoint,
    ) -> Result<(), LoadError> {
        let found = self.found.entry(named.layer).or_default();
        let place = match named.part {
            Part::Down => &mut found.down,
            Part::Up => &mut found.up,
            Part::Alpha => &mut found.alpha,
        };
        let first = place.replace(index);
        if named.part != Part::Alpha {
            found.path = named.path;
        }
        let Some(first) = first else {
            return Ok(());
        };
        let key = |index: usize| Excerpt::new(&checkpoint.entries()[index].tensor.key);
        Err(LoadError::SameParameter {
            file: checkpoint.source().into(),
            first: key(first),
            second: key(index),
        })
    }

    /// Pairs the matrices, checks that they can be multiplied, and reads the alphas. The scale is 1
    /// where there is no alpha.
    ///
    /// # Errors
    /// The file is incomplete, does not fit, or has an alpha that is no number.
    pub(super) fn products(
        self,
        checkpoint: &Checkpoint,
    ) -> Result<BTreeMap<String, Product>, LoadError> {
        let alphas = self.alphas(checkpoint)?;
        let mut products = BTreeMap::new();
        let (mut unpaired, mut unmatched) = (Vec::new(), Vec::new());
        for (layer, found) in self.found {
            let (Some(down), Some(up)) = (found.down, found.up) else {
                unpaired.push(Excerpt::new(&layer));
                continue;
            };
            let shape = |index: usize| checkpoint.entries()[index].tensor.shape.as_slice();
            let (shape_down, shape_up) = (matrix(shape(down)), matrix(shape(up)));
            let (Some([rank, input]), Some([output, up_rank])) = (shape_down, shape_up) else {
                unmatched.push(UnmatchedMatrices::new(&layer, shape(down), shape(up)));
                continue;
            };
            if rank != up_rank || rank == 0 {
                unmatched.push(UnmatchedMatrices::new(&layer, shape(down), shape(up)));
                continue;
            }
            let alpha = found.alpha.and_then(|index| alphas.get(&index).copied());
            let target = TargetLayer {
                down,
                up,
                rank,
                input,
                output,
                alpha,
                scale: alpha.map_or(1.0, |alpha| alpha / rank as f64),
            };
            let path = found.path;
            products.insert(layer, Product { path, target });
        }
        let fault = if !unpaired.is_empty() {
            LoraError::Unpaired { layers: unpaired }
        } else if !unmatched.is_empty() {
            LoraError::Shapes { layers: unmatched }
        } else {
            return Ok(products);
        };
        Err(LoadError::Lora {
            file: checkpoint.source().into(),
            fault: Box::new(fault),
        })
    }

    /// The values of the alphas, by entry.
    fn alphas(&self, checkpoint: &Checkpoint) -> Result<BTreeMap<usize, f64>, LoadError> {
        let mut alphas = BTreeMap::new();
        let found = self.found.values();
        let indices: Vec<usize> = found.filter_map(|found| found.alpha).collect();
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
}

/// Rows and columns; a convolution over one pixel is a matrix too.
fn matrix(shape: &[usize]) -> Option<[usize; 2]> {
    match shape {
        &[rows, columns, ref ones @ ..] if ones.iter().all(|&size| size == 1) => {
            Some([rows, columns])
        }
        _ => None,
    }
}

impl UnmatchedMatrices {
    fn new(layer: &str, down: &[usize], up: &[usize]) -> Self {
        Self {
            layer: Excerpt::new(layer),
            down: down.to_vec(),
            up: up.to_vec(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::matrix;

    #[test]
    fn a_convolution_over_one_pixel_is_a_matrix() {
        assert_eq!(matrix(&[4, 8]), Some([4, 8]));
        assert_eq!(matrix(&[4, 8, 1]), Some([4, 8]));
        assert_eq!(matrix(&[4, 8, 1, 1]), Some([4, 8]));
        assert_eq!(matrix(&[1, 1, 1, 1]), Some([1, 1]));
        for other in [&[][..], &[4], &[4, 8, 3, 3], &[4, 8, 1, 2], &[4, 8, 0]] {
            assert_eq!(matrix(other), None);
        }
    }
}
