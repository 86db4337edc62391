//! The models of a case, loaded as the program loads them.

use std::path::PathBuf;

use backends::ModelBackend;
use burn::tensor::FloatDType;
use loader::{Adapters, Component, Lora, Weights, load, load_adapters};
use model::{
    Builder, TextEncoder, TextEncoderConfig, Tokenizer, Transformer, TransformerConfig, VaeConfig,
    VaeDecoder, VaeEncoder,
};

use crate::case::Case;

/// The models of a case on one device.
pub struct Models<'a, B: ModelBackend> {
    case: &'a Case,
    device: B::Device,
}

impl<'a, B: ModelBackend> Models<'a, B> {
    /// Of a case, on a device.
    pub fn new(case: &'a Case, device: B::Device) -> Self {
        Self { case, device }
    }

    /// The tokenizer.
    pub fn tokenizer(&self) -> Tokenizer {
        Tokenizer::open(&self.case.tokenizer()).expect("a tokenizer")
    }

    /// The text encoder.
    pub fn text_encoder(&self) -> TextEncoder<B> {
        let weights = open(&self.case.text_encoder(), Component::TextEncoder);
        let config = TextEncoderConfig::resolve(weights.config(), &shapes(&weights));
        let config = config.expect("a text encoder");
        let formats = |name: &str| weights.format(name);
        let module = Builder::build(&self.device, &formats, |root| {
            TextEncoder::uninitialized(&config, root)
        });
        load(module, &weights, &self.device, &mut ())
            .expect("a text encoder")
            .0
    }

    /// The transformer with the LoRAs of the case.
    pub fn transformer(&self) -> Transformer<B> {
        self.transformer_with(&self.case.loras())
    }

    /// The transformer with some LoRAs and their weights.
    pub fn transformer_with(&self, loras: &[(PathBuf, f64)]) -> Transformer<B> {
        let weights = open(&self.case.transformer(), Component::Transformer);
        let config = TransformerConfig::resolve(weights.config(), &shapes(&weights));
        let config = config.expect("a transformer");
        let formats = |name: &str| weights.format(name);
        let module = Builder::build(&self.device, &formats, |root| {
            Transformer::uninitialized(&config, root)
        });
        let module = load(module, &weights, &self.device, &mut ());
        let mut module = module.expect("a transformer").0;
        let loras = loras.iter().map(|(path, weight)| {
            let lora = Lora::open(path).unwrap_or_else(|error| panic!("{error}"));
            (lora, *weight)
        });
        let adapters = Adapters::new(loras.collect(), &weights);
        let adapters = adapters.unwrap_or_else(|error| panic!("{error}"));
        let pairs = load_adapters::<B>(&adapters, FloatDType::F32, &self.device, &mut ());
        for (name, pair) in pairs.unwrap_or_else(|error| panic!("{error}")).0 {
            module.layer_mut(&name).expect("a layer").adapter = Some(pair);
        }
        module
    }

    /// The VAE's decoder.
    pub fn vae(&self) -> VaeDecoder<B> {
        let weights = open(&self.case.vae(), Component::Vae);
        let config = VaeConfig::resolve(weights.config(), &shapes(&weights)).expect("a VAE");
        let formats = |name: &str| weights.format(name);
        let module = Builder::build(&self.device, &formats, |root| {
            VaeDecoder::uninitialized(&config, root)
        });
        load(module, &weights, &self.device, &mut ())
            .expect("a VAE")
            .0
    }

    /// The VAE's encoder.
    pub fn vae_encoder(&self) -> VaeEncoder<B> {
        let decoder = open(&self.case.vae(), Component::Vae);
        let config = VaeConfig::resolve(decoder.config(), &shapes(&decoder)).expect("a VAE");
        let weights = decoder.vae_encoder().expect("an encoder");
        let formats = |name: &str| weights.format(name);
        let module = Builder::build(&self.device, &formats, |root| {
            VaeEncoder::uninitialized(&config, root)
        });
        load(module, &weights, &self.device, &mut ())
            .expect("an encoder")
            .0
    }
}

fn open(path: &std::path::Path, component: Component) -> Weights {
    Weights::open(path, component).unwrap_or_else(|error| panic!("{error}"))
}

/// Looks a file's shapes up, as the configs ask for them.
pub fn shapes(weights: &Weights) -> impl Fn(&str) -> Option<Vec<usize>> {
    |name| weights.shape(name).map(<[usize]>::to_vec)
}
