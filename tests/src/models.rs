//! The models of a case, loaded as the program loads them.

use std::path::PathBuf;

use backends::ModelBackend;
use burn::tensor::FloatDType;
use engine::models::Part;
use loader::{Adapters, Lora, Weights};
use model::{
    TextEncoder, TextEncoderConfig, Tokenizer, Transformer, TransformerConfig, VaeConfig,
    VaeDecoder, VaeEncoder,
};

use crate::case::Case;

/// The models of a case on one device.
pub struct Models<'a, B: ModelBackend> {
    case: &'a Case,
    device: B::Device,
}

impl<'a, B: ModelBackend> Models<'a, B> {
    /// Names the models of a case on a device.
    pub fn new(case: &'a Case, device: B::Device) -> Self {
        Self { case, device }
    }

    /// The tokenizer.
    pub fn tokenizer(&self) -> Tokenizer {
        Tokenizer::open(&self.case.tokenizer()).expect("a tokenizer")
    }

    /// The text encoder.
    pub fn text_encoder(&self) -> TextEncoder<B> {
        let part = Part::<TextEncoderConfig>::open(&self.case.text_encoder());
        let part = part.unwrap_or_else(|error| panic!("{error}"));
        part.load(&self.device).expect("a text encoder")
    }

    /// The transformer with the LoRAs of the case.
    pub fn transformer(&self) -> Transformer<B> {
        self.transformer_with(&self.case.loras())
    }

    /// The transformer with some LoRAs and their weights.
    pub fn transformer_with(&self, loras: &[(PathBuf, f64)]) -> Transformer<B> {
        let part = Part::<TransformerConfig>::open(&self.case.transformer());
        let part = part.unwrap_or_else(|error| panic!("{error}"));
        let loras = loras.iter().map(|(path, weight)| {
            let lora = Lora::open(path).unwrap_or_else(|error| panic!("{error}"));
            (lora, *weight)
        });
        let adapters = Adapters::new(loras.collect(), &part.weights);
        let adapters = adapters.unwrap_or_else(|error| panic!("{error}"));
        part.load(&adapters, FloatDType::F32, &self.device)
            .unwrap_or_else(|error| panic!("{error}"))
    }

    /// The VAE's decoder.
    pub fn vae(&self) -> VaeDecoder<B> {
        self.vae_part().load(&self.device).expect("a VAE")
    }

    /// The VAE's encoder.
    pub fn vae_encoder(&self) -> VaeEncoder<B> {
        let part = self.vae_part();
        part.load_encoder(&self.device).expect("an encoder")
    }

    fn vae_part(&self) -> Part<VaeConfig> {
        Part::<VaeConfig>::open(&self.case.vae()).unwrap_or_else(|error| panic!("{error}"))
    }
}

/// Looks a file's shapes up, as the configs ask for them.
pub fn shapes(weights: &Weights) -> impl Fn(&str) -> Option<Vec<usize>> {
    |name| weights.shape(name).map(<[usize]>::to_vec)
}
