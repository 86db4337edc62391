//! What can be known of the models and the device together before anything is loaded.

use backends::{ModelBackend, OnBackend};
use loader::Weights;
use model::{Builder, TextEncoder, Transformer, VaeDecoder, VaeEncoder};

use crate::args::DtypeChoice;
use crate::error::CliError;
use crate::models::{Models, Part};
use crate::plan::{Facts, facts};

/// Asks the device for its facts and checks each model against its file's header: a tensor that
/// is missing in the last one is told before the first is loaded.
pub(crate) struct Survey<'a> {
    /// The files.
    pub(crate) models: &'a Models,
    /// The number format asked for.
    pub(crate) dtype: DtypeChoice,
}

impl OnBackend for Survey<'_> {
    type Output = Result<Facts, CliError>;

    fn run<B: ModelBackend>(self, device: B::Device) -> Self::Output {
        let facts = facts::<B>(self.dtype, &device)?;
        let models = self.models;
        loader::check(
            &text_encoder::<B>(models, &device),
            &models.text_encoder.weights,
        )?;
        loader::check(
            &transformer::<B>(models, &device),
            &models.transformer.weights,
        )?;
        loader::check(&vae_decoder::<B>(models, &device), &models.vae.weights)?;
        if let Some(weights) = &models.vae_encoder {
            loader::check(&vae_encoder::<B>(models, weights, &device), weights)?;
        }
        Ok(facts)
    }
}

/// The text encoder without contents.
pub(crate) fn text_encoder<B: ModelBackend>(models: &Models, device: &B::Device) -> TextEncoder<B> {
    let Part { weights, config } = &models.text_encoder;
    let formats = |name: &str| weights.format(name);
    TextEncoder::uninitialized(config, &Builder::new(device, &formats))
}

/// The transformer without contents.
pub(crate) fn transformer<B: ModelBackend>(models: &Models, device: &B::Device) -> Transformer<B> {
    let Part { weights, config } = &models.transformer;
    let formats = |name: &str| weights.format(name);
    Transformer::uninitialized(config, &Builder::new(device, &formats))
}

/// The VAE's decoder without contents.
pub(crate) fn vae_decoder<B: ModelBackend>(models: &Models, device: &B::Device) -> VaeDecoder<B> {
    let Part { weights, config } = &models.vae;
    let formats = |name: &str| weights.format(name);
    VaeDecoder::uninitialized(config, &Builder::new(device, &formats))
}

/// The VAE's encoder without contents, for these weights of it.
pub(crate) fn vae_encoder<B: ModelBackend>(
    models: &Models,
    weights: &Weights,
    device: &B::Device,
) -> VaeEncoder<B> {
    let formats = |name: &str| weights.format(name);
    VaeEncoder::uninitialized(&models.vae.config, &Builder::new(device, &formats))
}
