//! One model at a time, loaded as a session loads it. A session does more: it checks that the model
//! fits, tells how far loading is, and drops it in time.

use std::path::Path;

use backends::ModelBackend;
use burn::tensor::FloatDType;
use loader::{Adapters, Component, Weights, load, load_adapters};
use model::{
    TextEncoder, TextEncoderConfig, Transformer, TransformerConfig, VaeConfig, VaeDecoder,
    VaeEncoder,
};

use super::adapters::attach;
use super::{Part, survey, text_encoder_part, transformer_part, vae_part};
use crate::error::Error;

impl Part<TextEncoderConfig> {
    /// Opens a text encoder.
    ///
    /// # Errors
    /// The file is missing, damaged or of another model.
    pub fn open(path: &Path) -> Result<Self, Error> {
        text_encoder_part(Weights::open(path, Component::TextEncoder)?)
    }

    /// Loads the text encoder.
    ///
    /// # Errors
    /// The file cannot be read, or the device has no room.
    pub fn load<B: ModelBackend>(&self, device: &B::Device) -> Result<TextEncoder<B>, Error> {
        let module = survey::text_encoder::<B>(self, device);
        Ok(load(module, &self.weights, device, &mut ())?.0)
    }
}

impl Part<TransformerConfig> {
    /// Opens a transformer.
    ///
    /// # Errors
    /// The file is missing, damaged or of another model.
    pub fn open(path: &Path) -> Result<Self, Error> {
        transformer_part(Weights::open(path, Component::Transformer)?)
    }

    /// Loads the transformer with LoRAs in a number format.
    ///
    /// # Errors
    /// A file cannot be read, or the device has no room.
    pub fn load<B: ModelBackend>(
        &self,
        adapters: &Adapters,
        dtype: FloatDType,
        device: &B::Device,
    ) -> Result<Transformer<B>, Error> {
        let module = survey::transformer::<B>(self, device);
        let mut module = load(module, &self.weights, device, &mut ())?.0;
        let (pairs, _) = load_adapters::<B>(adapters, dtype, device, &mut ())?;
        attach(&mut module, pairs)?;
        Ok(module)
    }
}

impl Part<VaeConfig> {
    /// Opens a VAE.
    ///
    /// # Errors
    /// The file is missing, damaged or of another model.
    pub fn open(path: &Path) -> Result<Self, Error> {
        vae_part(Weights::open(path, Component::Vae)?)
    }

    /// Loads the VAE's decoder.
    ///
    /// # Errors
    /// The file cannot be read, or the device has no room.
    pub fn load<B: ModelBackend>(&self, device: &B::Device) -> Result<VaeDecoder<B>, Error> {
        let module = survey::vae_decoder::<B>(self, device);
        Ok(load(module, &self.weights, device, &mut ())?.0)
    }

    /// Loads the VAE's encoder.
    ///
    /// # Errors
    /// The VAE has none; the file cannot be read, or the device has no room.
    pub fn load_encoder<B: ModelBackend>(
        &self,
        device: &B::Device,
    ) -> Result<VaeEncoder<B>, Error> {
        let weights = self.weights.vae_encoder()?;
        let module = survey::vae_encoder::<B>(&self.config, &weights, device);
        Ok(load(module, &weights, device, &mut ())?.0)
    }
}
