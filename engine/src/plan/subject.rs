//! The models of a plan: their sizes and their bytes.

use backends::{Numerics, WeightFormat};
use burn::tensor::DType;
use loader::{Component, Footprint, Summary, Weights};
use model::{TextEncoderConfig, TransformerConfig, VaeConfig};

use super::blocks::Blocks;
use crate::models::Models;

/// The sizes of the three models, known from their headers.
#[derive(Debug, Clone)]
pub struct Subject {
    /// The text encoder.
    pub text_encoder: Described<TextEncoderConfig>,
    /// The transformer.
    pub transformer: Described<TransformerConfig>,
    /// The VAE's decoder.
    pub vae: Described<VaeConfig>,
    /// The VAE's encoder, where it is needed.
    pub vae_encoder: Option<ModelBytes>,
    /// The LoRAs beside the transformer's weights.
    pub adapters: AdapterSizes,
}

/// How much LoRAs add.
#[derive(Debug, Clone, Copy, Default)]
pub struct AdapterSizes {
    /// Matrices that are loaded.
    pub tensors: usize,
    /// Their bytes in the files.
    pub file: u64,
    /// Their elements in memory.
    pub elements: u64,
    /// The largest rank beside any layer.
    pub rank: usize,
}

/// A model's sizes and bytes.
#[derive(Debug, Clone)]
pub struct Described<C> {
    /// The sizes of its layers.
    pub config: C,
    /// The bytes of its weights.
    pub bytes: ModelBytes,
    /// The part of them that can be streamed.
    pub blocks: Blocks,
    /// The same part, were its matrices FP8.
    pub blocks_as_fp8: Blocks,
}

/// How much of a model there is.
#[derive(Debug, Clone, Copy)]
pub struct ModelBytes {
    /// Tensors that are loaded, scales included.
    pub tensors: usize,
    /// Their bytes in the files.
    pub file: u64,
    /// Their bytes in memory.
    pub loaded: Footprint,
    /// Their bytes in memory, were the matrices FP8 that usually are in FP8 files.
    pub as_fp8: Footprint,
}

impl Subject {
    /// Describes models whose headers have been read.
    pub fn of(models: &Models) -> Self {
        Self {
            text_encoder: Described {
                config: models.text_encoder.config.clone(),
                bytes: ModelBytes::of(&models.text_encoder.weights),
                blocks: Blocks::of(&models.text_encoder.weights),
                blocks_as_fp8: Blocks::as_fp8(&models.text_encoder.weights),
            },
            transformer: Described {
                config: models.transformer.config.clone(),
                bytes: ModelBytes::of(&models.transformer.weights),
                blocks: Blocks::of(&models.transformer.weights),
                blocks_as_fp8: Blocks::as_fp8(&models.transformer.weights),
            },
            vae: Described {
                config: models.vae.config.clone(),
                bytes: ModelBytes::of(&models.vae.weights),
                blocks: Blocks::of(&models.vae.weights),
                blocks_as_fp8: Blocks::as_fp8(&models.vae.weights),
            },
            vae_encoder: models.vae_encoder.as_ref().map(ModelBytes::of),
            adapters: AdapterSizes {
                tensors: models.adapters.tensors(),
                file: models.adapters.file_bytes(),
                elements: models.adapters.elements(),
                rank: models.adapters.largest_rank(),
            },
        }
    }

    /// Replaces a model by one from an FP8 file.
    pub(super) fn with_fp8(&self, component: Component) -> Self {
        let mut subject = self.clone();
        match component {
            Component::TextEncoder => subject.text_encoder.become_fp8(),
            Component::Transformer => subject.transformer.become_fp8(),
            Component::Vae => subject.vae.become_fp8(),
        }
        subject
    }
}

impl<C> Described<C> {
    fn become_fp8(&mut self) {
        self.bytes.loaded = self.bytes.as_fp8;
        self.blocks = self.blocks_as_fp8.clone();
    }
}

impl AdapterSizes {
    /// Bytes in memory, in the dtype of the computation.
    pub(super) fn bytes(&self, numerics: Numerics) -> u64 {
        self.elements * DType::from(numerics.dtype).size() as u64
    }
}

impl ModelBytes {
    /// Adds adapters of so many bytes in memory, which are read and never mapped.
    pub(super) fn with(&self, adapters: &AdapterSizes, bytes: u64) -> Self {
        let mut with = *self;
        with.tensors += adapters.tensors;
        with.file += adapters.file;
        with.loaded.converted += bytes;
        with.as_fp8.converted += bytes;
        with
    }

    fn of(weights: &Weights) -> Self {
        let summary = Summary::of(weights);
        let loaded = summary.footprint;
        Self {
            tensors: summary.used,
            file: summary.used_bytes,
            loaded,
            as_fp8: as_fp8(weights, loaded),
        }
    }
}

/// The footprint of the same model in FP8. A dense embedding stays dense, at two bytes an element,
/// as in the published FP8 text encoders.
fn as_fp8(weights: &Weights, loaded: Footprint) -> Footprint {
    let (mut fp8, mut embeddings) = (0, 0);
    for name in weights.names() {
        let Some(&[rows, columns]) = weights.shape(name) else {
            continue;
        };
        let elements = rows as u64 * columns as u64;
        let dense = weights.format(name) == WeightFormat::Dense;
        if dense && name.ends_with("embed_tokens.weight") {
            embeddings += 2 * elements;
        } else {
            fp8 += elements + 4;
        }
    }
    Footprint {
        fp8,
        dense: embeddings.min(loaded.dense),
        converted: loaded.converted,
    }
}
