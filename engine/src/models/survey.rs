//! A survey checks the models against their files and asks the device for its facts, before
//! anything is loaded.

use backends::{BackendKind, DeviceChoice, ModelBackend, OnBackend, UnfilledModule};
use loader::Weights;
use model::{
    Builder, TextEncoder, TextEncoderConfig, Transformer, TransformerConfig, VaeConfig, VaeDecoder,
    VaeEncoder,
};

use super::{Models, Part};
use crate::error::Error;
use crate::plan::{Facts, facts};
use crate::request::DtypeChoice;

/// Asks the device for its facts and checks each model against its file's header: a tensor that
/// is missing in the last one is told before the first is loaded.
pub struct Survey<'a> {
    /// The files.
    pub models: &'a Models,
    /// The number format asked for.
    pub dtype: DtypeChoice,
}

impl OnBackend for Survey<'_> {
    type Output = Result<Facts, Error>;

    fn run<B: ModelBackend>(self, device: B::Device) -> Self::Output {
        let facts = facts::<B>(self.dtype, &device)?;
        let models = self.models;
        Sizes::check::<B>(&models.text_encoder, &device)?;
        Sizes::check::<B>(&models.transformer, &device)?;
        Sizes::check::<B>(&models.vae, &device)?;
        check_vae_encoder::<B>(models, &device)?;
        Ok(facts)
    }
}

/// Checks the VAE's encoder, if it is open, against its file's header: a session that is surveyed
/// already opens it only for an image to start from.
pub struct VaeEncoderSurvey<'a>(pub &'a Models);

impl OnBackend for VaeEncoderSurvey<'_> {
    type Output = Result<(), Error>;

    fn run<B: ModelBackend>(self, device: B::Device) -> Self::Output {
        check_vae_encoder::<B>(self.0, &device)
    }
}

fn check_vae_encoder<B: ModelBackend>(models: &Models, device: &B::Device) -> Result<(), Error> {
    match &models.vae_encoder {
        Some(weights) => {
            let encoder = vae_encoder::<B>(&models.vae.config, weights, device);
            Ok(loader::check(&encoder, weights)?)
        }
        None => Ok(()),
    }
}

/// Checks one model against its file's header, without a device.
///
/// # Errors
/// [`LoadError::Misfit`](loader::LoadError::Misfit).
pub fn check<C: Sizes>(part: &Part<C>) -> Result<(), Error> {
    struct Check<'a, C>(&'a Part<C>);

    impl<C: Sizes> OnBackend for Check<'_, C> {
        type Output = Result<(), Error>;

        fn run<B: ModelBackend>(self, device: B::Device) -> Self::Output {
            C::check::<B>(self.0, &device)
        }
    }

    match processor() {
        Some(processor) => backends::dispatch(&processor, Check(part))?,
        None => Ok(()),
    }
}

/// The processor, which is there without asking, if it is compiled in.
pub fn processor() -> Option<DeviceChoice> {
    let kind = BackendKind::Flex;
    kind.compiled_in()
        .then_some(DeviceChoice { kind, index: 0 })
}

/// The sizes of a model, by which its parameters are known.
pub trait Sizes: Sized + Sync {
    /// Checks a model's file against its sizes.
    ///
    /// # Errors
    /// [`LoadError::Misfit`](loader::LoadError::Misfit).
    fn check<B: ModelBackend>(part: &Part<Self>, device: &B::Device) -> Result<(), Error>;
}

impl Sizes for TextEncoderConfig {
    fn check<B: ModelBackend>(part: &Part<Self>, device: &B::Device) -> Result<(), Error> {
        Ok(loader::check(
            &text_encoder::<B>(part, device),
            &part.weights,
        )?)
    }
}

impl Sizes for TransformerConfig {
    fn check<B: ModelBackend>(part: &Part<Self>, device: &B::Device) -> Result<(), Error> {
        Ok(loader::check(
            &transformer::<B>(part, device),
            &part.weights,
        )?)
    }
}

impl Sizes for VaeConfig {
    fn check<B: ModelBackend>(part: &Part<Self>, device: &B::Device) -> Result<(), Error> {
        Ok(loader::check(
            &vae_decoder::<B>(part, device),
            &part.weights,
        )?)
    }
}

/// The text encoder without contents.
pub fn text_encoder<B: ModelBackend>(
    part: &Part<TextEncoderConfig>,
    device: &B::Device,
) -> UnfilledModule<TextEncoder<B>> {
    let Part { weights, config } = part;
    let formats = |name: &str| weights.format(name);
    Builder::build(device, &formats, |root| {
        TextEncoder::uninitialized(config, root)
    })
}

/// The transformer without contents.
pub fn transformer<B: ModelBackend>(
    part: &Part<TransformerConfig>,
    device: &B::Device,
) -> UnfilledModule<Transformer<B>> {
    let Part { weights, config } = part;
    let formats = |name: &str| weights.format(name);
    Builder::build(device, &formats, |root| {
        Transformer::uninitialized(config, root)
    })
}

/// The VAE's decoder without contents.
pub fn vae_decoder<B: ModelBackend>(
    part: &Part<VaeConfig>,
    device: &B::Device,
) -> UnfilledModule<VaeDecoder<B>> {
    let Part { weights, config } = part;
    let formats = |name: &str| weights.format(name);
    Builder::build(device, &formats, |root| {
        VaeDecoder::uninitialized(config, root)
    })
}

/// The VAE's encoder without contents, for these weights of it.
pub fn vae_encoder<B: ModelBackend>(
    config: &VaeConfig,
    weights: &Weights,
    device: &B::Device,
) -> UnfilledModule<VaeEncoder<B>> {
    let formats = |name: &str| weights.format(name);
    Builder::build(device, &formats, |root| {
        VaeEncoder::uninitialized(config, root)
    })
}
