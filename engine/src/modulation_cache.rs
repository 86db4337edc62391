//! Modulations of timesteps from earlier runs, so that a run at the same timesteps need not read the
//! third of the transformer's weights that they come from.
//!
//! An entry stands for the timestep, the transformer's files and the LoRAs' as they are on the disk
//! now, the LoRAs' weights, the device and what is computed in, and this very build of the program:
//! with any other of them, it is another entry. A cache that cannot be read or written is none, and
//! never an error.

use std::io;
use std::path::Path;

use backends::DeviceChoice;
use burn::tensor::{DType, TensorData};
use loader::{Adapters, Weights};
use model::TransformerConfig;
use sha2::Digest;

use crate::cache::{Entries, Identity};

/// The most bytes of all entries: about 240 timesteps of the published model in bf16.
const MAX_BYTES: u64 = 1 << 30;

/// The transformer whose modulations are kept.
#[derive(Debug, Clone, Copy)]
pub struct Modulated<'a> {
    /// Its sizes.
    pub config: &'a TransformerConfig,
    /// Its files.
    pub weights: &'a Weights,
    /// The LoRAs beside its weights.
    pub adapters: &'a Adapters,
    /// The dtype in which its blocks compute.
    pub dtype: DType,
    /// A text that tells how its weights are stored and what it computes in.
    pub numerics: &'a str,
}

/// A folder of modulations, for one transformer with its LoRAs on one device.
#[derive(Debug)]
pub struct ModulationCache {
    entries: Entries,
    /// The hash that every key begins with.
    identity: Identity,
    dtype: DType,
    /// The number of a timestep's elements.
    elements: usize,
}

impl ModulationCache {
    /// The cache in a folder, which need not be there, for a transformer on `device`; `None` where
    /// its files cannot be told from another version of them.
    pub fn open(folder: &Path, modulated: Modulated<'_>, device: &DeviceChoice) -> Option<Self> {
        let config = modulated.config;
        Some(Self {
            entries: Entries::new(folder, MAX_BYTES),
            identity: identity(&modulated, device).ok()?,
            dtype: modulated.dtype,
            elements: config.modulation_elements(),
        })
    }

    /// The modulations of a timestep in one vector, `[elements]` in the dtype that the blocks
    /// compute in, if they are there, whole and finite.
    pub fn get(&self, timestep: f32) -> Option<TensorData> {
        let shape = [self.elements];
        self.entries.get(&self.key(timestep), self.dtype, &shape)
    }

    /// Keeps the modulations of a timestep.
    pub fn put(&self, timestep: f32, modulations: &TensorData) {
        self.entries.put(&self.key(timestep), modulations);
    }

    fn key(&self, timestep: f32) -> String {
        self.identity
            .key(|hash| hash.update(timestep.to_bits().to_le_bytes()))
    }
}

/// The hash of all that modulations depend on beside the timestep.
fn identity(modulated: &Modulated<'_>, device: &DeviceChoice) -> io::Result<Identity> {
    let mut identity = Identity::of(device)?;
    identity.add_text(&format!("{:?}", modulated.config));
    for file in modulated.weights.checkpoint().files() {
        identity.add_file(&file.path)?;
    }
    for (lora, weight) in modulated.adapters.loras() {
        identity.add_text(&format!("LoRA {weight:?}"));
        for file in lora.files() {
            identity.add_file(file)?;
        }
    }
    identity.add_text(modulated.numerics);
    Ok(identity)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use backends::BackendKind;

    use super::*;
    use crate::models::Models;
    use crate::request::ModelSources;

    const DEVICE: DeviceChoice = DeviceChoice {
        kind: BackendKind::Flex,
        index: 0,
    };

    #[test]
    fn a_timestep_comes_back_in_the_dtype_that_it_was_computed_in() {
        let models = Models::open(&ModelSources::demo()).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let open = |dtype, numerics| {
            let modulated = Modulated {
                config: &models.transformer.config,
                weights: &models.transformer.weights,
                adapters: &models.adapters,
                dtype,
                numerics,
            };
            ModulationCache::open(folder.path(), modulated, &DEVICE).unwrap()
        };
        let cache = open(DType::F32, "f32");
        let elements = models.transformer.config.modulation_elements();
        let values = TensorData::ones::<f32, _>([elements]);
        assert!(cache.get(0.5).is_none());
        cache.put(0.5, &values);
        assert_eq!(cache.get(0.5).unwrap(), values);
        assert!(cache.get(f32::from_bits(0.5f32.to_bits() + 1)).is_none());
        assert!(open(DType::F32, "other").get(0.5).is_none());
        assert!(open(DType::BF16, "f32").get(0.5).is_none());

        let narrow = open(DType::BF16, "bf16");
        let values = values.convert_dtype(DType::BF16);
        narrow.put(0.5, &values);
        assert_eq!(narrow.get(0.5).unwrap(), values);
    }
}
