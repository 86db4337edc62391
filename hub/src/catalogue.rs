//! The published files that make a model, and where each belongs in a ComfyUI `models` tree.
//!
//! Only repositories and names are written down here; the Hub tells sizes and digests.

use std::path::{Path, PathBuf};

/// The folder of transformers in a `models` tree.
pub const TRANSFORMER_FOLDER: &str = "diffusion_models";

const COMFYUI: &str = "Comfy-Org/Qwen-Image_ComfyUI";
const LIGHTNING: &str = "lightx2v/Qwen-Image-Lightning";
const QWEN: &str = "Qwen/Qwen-Image";

/// The repositories that models are downloaded from.
pub const REPOSITORIES: [&str; 3] = [QWEN, COMFYUI, LIGHTNING];

/// A file of a repository, and the folder of the tree that it goes to under its own name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Source {
    /// The repository, `OWNER/NAME`.
    pub repository: &'static str,
    /// The file's path in the repository.
    pub path: &'static str,
    /// The folder in the tree.
    pub folder: &'static str,
}

impl Source {
    const fn new(repository: &'static str, path: &'static str, folder: &'static str) -> Self {
        Self {
            repository,
            path,
            folder,
        }
    }

    /// The file's name without folders.
    pub fn name(&self) -> &'static str {
        self.path
            .rsplit_once('/')
            .map_or(self.path, |(_, name)| name)
    }

    /// The file's path below the `models` tree.
    pub fn place_in(&self, models: &Path) -> PathBuf {
        models.join(self.folder).join(self.name())
    }
}

const fn transformer(repository: &'static str, path: &'static str) -> Source {
    Source::new(repository, path, TRANSFORMER_FOLDER)
}

const FP8: Source = transformer(
    COMFYUI,
    "split_files/diffusion_models/qwen_image_fp8_e4m3fn.safetensors",
);
const FP8_SCALED: Source = transformer(
    LIGHTNING,
    "Qwen-Image/qwen_image_fp8_e4m3fn_scaled.safetensors",
);
const BF16: Source = transformer(
    COMFYUI,
    "split_files/diffusion_models/qwen_image_bf16.safetensors",
);
const V2512: Source = transformer(
    COMFYUI,
    "split_files/diffusion_models/qwen_image_2512_fp8_e4m3fn.safetensors",
);

/// The files that every transformer needs beside it.
const SHARED: [Source; 5] = [
    Source::new(
        COMFYUI,
        "split_files/text_encoders/qwen_2.5_vl_7b_fp8_scaled.safetensors",
        "text_encoders",
    ),
    Source::new(COMFYUI, "split_files/vae/qwen_image_vae.safetensors", "vae"),
    Source::new(QWEN, "tokenizer/vocab.json", "tokenizer"),
    Source::new(QWEN, "tokenizer/merges.txt", "tokenizer"),
    Source::new(QWEN, "tokenizer/tokenizer_config.json", "tokenizer"),
];

const LORAS: [Source; 2] = [
    Source::new(
        LIGHTNING,
        "Qwen-Image-Lightning-4steps-V1.0-bf16.safetensors",
        "loras",
    ),
    Source::new(
        LIGHTNING,
        "Qwen-Image-Lightning-8steps-V1.1-bf16.safetensors",
        "loras",
    ),
];

/// A set of files that makes a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Variant {
    /// Qwen-Image in FP8 without scales: the file that most ComfyUI users have.
    Fp8,
    /// Qwen-Image in FP8 with scales: closer to BF16 at the same size, and the one for LoRAs.
    Fp8Scaled,
    /// Qwen-Image in BF16: twice the size.
    Bf16,
    /// Qwen-Image-2512 in FP8 without scales.
    V2512,
    /// The Lightning LoRAs for 4 and 8 steps, with [`Self::Fp8Scaled`] unless a transformer is
    /// there.
    Lightning,
}

impl Variant {
    /// The files to have in the tree `models`, in the order in which they are fetched.
    ///
    /// The LoRAs were trained on BF16 weights and go with any of them: a transformer that is in
    /// the tree already is not joined by a second one, since nothing could choose between the two.
    pub fn sources(self, models: &Path) -> Vec<Source> {
        let is_there = |source: &Source| source.place_in(models).exists();
        let (transformer, loras) = match self {
            Self::Fp8 => (Some(FP8), &[][..]),
            Self::Fp8Scaled => (Some(FP8_SCALED), &[][..]),
            Self::Bf16 => (Some(BF16), &[][..]),
            Self::V2512 => (Some(V2512), &[][..]),
            Self::Lightning => {
                let any = [FP8, FP8_SCALED, BF16, V2512].iter().any(is_there);
                ((!any).then_some(FP8_SCALED), &LORAS[..])
            }
        };
        // The small files first: whatever is wrong with access to a repository shows early.
        let mut sources = SHARED.to_vec();
        sources.reverse();
        sources.extend_from_slice(loras);
        sources.extend(transformer);
        sources
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::fs;

    use super::{FP8, FP8_SCALED, LORAS, Variant};

    #[test]
    fn every_variant_is_a_whole_model() {
        let folder = tempfile::tempdir().unwrap();
        for variant in [
            Variant::Fp8,
            Variant::Fp8Scaled,
            Variant::Bf16,
            Variant::V2512,
            Variant::Lightning,
        ] {
            let sources = variant.sources(folder.path());
            let count = |folder| sources.iter().filter(|file| file.folder == folder).count();
            assert_eq!(count("diffusion_models"), 1, "{variant:?}");
            assert_eq!(count("text_encoders"), 1);
            assert_eq!(count("vae"), 1);
            assert_eq!(count("tokenizer"), 3);
            let loras = if variant == Variant::Lightning { 2 } else { 0 };
            assert_eq!(count("loras"), loras);
        }
    }

    #[test]
    fn lightning_joins_the_transformer_that_is_there() {
        let folder = tempfile::tempdir().unwrap();
        let sources = Variant::Lightning.sources(folder.path());
        assert!(sources.contains(&FP8_SCALED));
        let place = folder.path().join(FP8.folder);
        fs::create_dir(&place).unwrap();
        fs::write(place.join(FP8.name()), "").unwrap();
        let sources = Variant::Lightning.sources(folder.path());
        assert!(!sources.contains(&FP8_SCALED) && !sources.contains(&FP8));
        assert!(LORAS.iter().all(|lora| sources.contains(lora)));
    }
}
