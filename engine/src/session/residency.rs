//! Which models stay in memory between phases and between jobs.

use std::any::Any;

use backends::{Arithmetic, ModelBackend};
use burn::module::Module;
use model::transformer::Modulations;
use model::{TextEncoder, Transformer, VaeDecoder, VaeEncoder};

use super::adapters;
use super::load::Loaded;
use super::run::Run;
use crate::error::Error;
use crate::models::survey;
use crate::plan::{PhaseName, PhasePlan, Place};

/// Which models stay in memory.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Keep {
    /// One model is in memory at a time, and none when the job is done. Only where several images
    /// are made and both have room, the decoder stays beside the transformer meanwhile.
    #[default]
    OneAtATime,
    /// Models stay as long as the plan says that they fit beside each other, also for the next
    /// job. Where room is needed, the text encoder goes first and the transformer last.
    WhatFits,
}

/// The models that are in memory on one backend.
pub(super) struct Residents<B: ModelBackend> {
    text_encoder: Option<Loaded<B, TextEncoder<B>>>,
    vae_encoder: Option<Loaded<B, VaeEncoder<B>>>,
    transformer: Option<Loaded<B, Transformer<B>>>,
    vae: Option<Loaded<B, VaeDecoder<B>>>,
    /// The modulations that were computed with the transformer, and go with it.
    pub(super) modulations: Modulations<B>,
}

impl<B: ModelBackend> Default for Residents<B> {
    fn default() -> Self {
        Self {
            text_encoder: None,
            vae_encoder: None,
            transformer: None,
            vae: None,
            modulations: Modulations::default(),
        }
    }
}

impl<B: ModelBackend> Residents<B> {
    /// Takes the models of this backend out of a place that does not know it.
    pub(super) fn take(place: &mut Option<Box<dyn Any + Send + Sync>>) -> Self {
        let found = place.take().and_then(|found| found.downcast::<Self>().ok());
        found.map_or_else(Self::default, |found| *found)
    }

    /// The plans of the phases whose models are in memory.
    pub(super) fn planned(&self) -> Vec<PhasePlan> {
        [
            self.text_encoder.as_ref().map(|loaded| loaded.planned),
            self.vae_encoder.as_ref().map(|loaded| loaded.planned),
            self.transformer.as_ref().map(|loaded| loaded.planned),
            self.vae.as_ref().map(|loaded| loaded.planned),
        ]
        .into_iter()
        .flatten()
        .collect()
    }

    /// Drops the model that is missed least, but not that of a phase. Returns whether there was
    /// one.
    ///
    /// # Errors
    /// The same as [`Run::unload`].
    fn drop_one(
        &mut self,
        but: PhaseName,
        run: &mut Run<'_>,
        device: &B::Device,
    ) -> Result<bool, Error> {
        if but != PhaseName::Encode
            && let Some(loaded) = self.text_encoder.take()
        {
            run.unload::<B, _>(loaded, device)?;
        } else if but != PhaseName::EncodeImage
            && let Some(loaded) = self.vae_encoder.take()
        {
            run.unload::<B, _>(loaded, device)?;
        } else if but != PhaseName::Decode
            && let Some(loaded) = self.vae.take()
        {
            run.unload::<B, _>(loaded, device)?;
        } else if but != PhaseName::Denoise
            && let Some(loaded) = self.transformer.take()
        {
            self.modulations = Modulations::default();
            run.unload::<B, _>(loaded, device)?;
        } else {
            return Ok(false);
        }
        Ok(true)
    }
}

/// A phase with its model.
pub(super) trait Phase<B: ModelBackend> {
    /// The phase's name.
    const NAME: PhaseName;
    /// The phase's model.
    type Model: Module<B>;

    /// The slot in which the model stays.
    fn slot(residents: &mut Residents<B>) -> &mut Option<Loaded<B, Self::Model>>;

    /// Loads the model.
    ///
    /// # Errors
    /// The same as [`Run::load`].
    fn load(run: &mut Run<'_>, device: &B::Device) -> Result<Loaded<B, Self::Model>, Error>;
}

/// Prompts become embeddings.
pub(super) struct Encoding;
/// An image to start from becomes latents.
pub(super) struct ImageEncoding;
/// Noise becomes latents.
pub(super) struct Denoise;
/// Latents become pixels.
pub(super) struct Decoding;

impl<B: ModelBackend> Phase<B> for Encoding {
    const NAME: PhaseName = PhaseName::Encode;
    type Model = TextEncoder<B>;

    fn slot(residents: &mut Residents<B>) -> &mut Option<Loaded<B, Self::Model>> {
        &mut residents.text_encoder
    }

    fn load(run: &mut Run<'_>, device: &B::Device) -> Result<Loaded<B, Self::Model>, Error> {
        let part = &run.session.models.text_encoder;
        let encoder = || survey::text_encoder::<B>(part, device);
        run.load(<Self as Phase<B>>::NAME, encoder, &part.weights, device)
    }
}

impl<B: ModelBackend> Phase<B> for ImageEncoding {
    const NAME: PhaseName = PhaseName::EncodeImage;
    type Model = VaeEncoder<B>;

    fn slot(residents: &mut Residents<B>) -> &mut Option<Loaded<B, Self::Model>> {
        &mut residents.vae_encoder
    }

    fn load(run: &mut Run<'_>, device: &B::Device) -> Result<Loaded<B, Self::Model>, Error> {
        let models = &run.session.models;
        let weights = models.vae_encoder.as_ref();
        let weights =
            weights.ok_or_else(|| Error::Internal("the VAE's encoder is not open".to_owned()))?;
        let encoder = || survey::vae_encoder::<B>(&models.vae.config, weights, device);
        run.load(<Self as Phase<B>>::NAME, encoder, weights, device)
    }
}

impl<B: ModelBackend> Phase<B> for Denoise {
    const NAME: PhaseName = PhaseName::Denoise;
    type Model = Transformer<B>;

    fn slot(residents: &mut Residents<B>) -> &mut Option<Loaded<B, Self::Model>> {
        &mut residents.transformer
    }

    fn load(run: &mut Run<'_>, device: &B::Device) -> Result<Loaded<B, Self::Model>, Error> {
        let part = &run.session.models.transformer;
        let transformer = || survey::transformer::<B>(part, device);
        let mut loaded = run.load(<Self as Phase<B>>::NAME, transformer, &part.weights, device)?;
        let arithmetic: Arithmetic = run.session.compute.arithmetic;
        loaded.module.set_arithmetic(arithmetic);
        adapters::load(run, &mut loaded.module, device)?;
        Ok(loaded)
    }
}

impl<B: ModelBackend> Phase<B> for Decoding {
    const NAME: PhaseName = PhaseName::Decode;
    type Model = VaeDecoder<B>;

    fn slot(residents: &mut Residents<B>) -> &mut Option<Loaded<B, Self::Model>> {
        &mut residents.vae
    }

    fn load(run: &mut Run<'_>, device: &B::Device) -> Result<Loaded<B, Self::Model>, Error> {
        let part = &run.session.models.vae;
        let vae = || survey::vae_decoder::<B>(part, device);
        run.load(<Self as Phase<B>>::NAME, vae, &part.weights, device)
    }
}

/// Gets the model of a phase: one that has stayed, or else a new one, once there is room for it.
///
/// # Errors
/// The same as [`Run::load`].
pub(super) fn acquire<B: ModelBackend, P: Phase<B>>(
    run: &mut Run<'_>,
    residents: &mut Residents<B>,
    device: &B::Device,
) -> Result<Loaded<B, P::Model>, Error> {
    loop {
        let held = residents.planned();
        if held.is_empty() {
            return P::load(run, device);
        }
        let plan = run.plan_without::<B>(&held, device);
        if fits_beside(&held, plan.phase(P::NAME)) {
            if P::NAME == PhaseName::Decode
                && let Some(decode) = plan.phase(P::NAME)
            {
                run.settle_tiling(decode.tiling);
            }
            return match P::slot(residents).take() {
                Some(loaded) if can_stay(&loaded.planned, plan.phase(P::NAME)) => {
                    run.reuse(loaded, &plan)
                }
                Some(loaded) => {
                    run.unload::<B, _>(loaded, device)?;
                    P::load(run, device)
                }
                None => P::load(run, device),
            };
        }
        if !residents.drop_one(P::NAME, run, device)? {
            let Some(loaded) = P::slot(residents).take() else {
                return P::load(run, device);
            };
            return run.reuse(loaded, &plan);
        }
    }
}

/// Keeps the model of a phase that has ended, or drops it.
///
/// # Errors
/// The same as [`Run::unload`].
pub(super) fn release<B: ModelBackend, P: Phase<B>>(
    run: &mut Run<'_>,
    residents: &mut Residents<B>,
    loaded: Loaded<B, P::Model>,
    device: &B::Device,
) -> Result<(), Error> {
    match run.keep {
        Keep::OneAtATime => run.unload::<B, _>(loaded, device),
        Keep::WhatFits => {
            *P::slot(residents) = Some(loaded);
            B::release_unused(device);
            Ok(())
        }
    }
}

/// Tells whether a model that is in memory does for its phase. It is loaded anew if the part of it
/// that stays is too large beside the work, or if all of it could stay by now.
fn can_stay(loaded: &PhasePlan, phase: Option<&PhasePlan>) -> bool {
    let Some(phase) = phase else {
        return true;
    };
    match (loaded.streaming, phase.streaming, phase.available_bytes) {
        (None, None, _) => true,
        (Some(_), Some(_), Some(available)) => {
            loaded.weight_bytes() + phase.working_bytes <= available
        }
        _ => false,
    }
}

/// Tells whether a phase fits beside models that are in memory, of which its own may be one. Where
/// nothing tells how much memory there is, nothing does but what takes none.
fn fits_beside(held: &[PhasePlan], phase: Option<&PhasePlan>) -> bool {
    let Some(phase) = phase else {
        return false;
    };
    let mut others = held
        .iter()
        .filter(|held| held.phase != phase.phase && held.place == phase.place);
    match phase.available_bytes {
        Some(available) => {
            let others: u64 = others.map(PhasePlan::kept_bytes).sum();
            others.saturating_add(phase.peak_bytes) <= available
        }
        None => phase.place == Place::Processor || others.next().is_none(),
    }
}

#[cfg(test)]
mod tests {
    use loader::Component;
    use model::vae::Tiling;

    use super::{can_stay, fits_beside};
    use crate::plan::{PhaseName, PhasePlan, Place, Streaming, Verdict};

    const GIB: u64 = 1 << 30;

    fn phase(
        phase: PhaseName,
        place: Place,
        weights: u64,
        working: u64,
        available: Option<u64>,
    ) -> PhasePlan {
        PhasePlan {
            phase,
            model: Component::Transformer,
            place,
            tensors: 1,
            file_bytes: weights,
            read_once_bytes: 0,
            fp8_bytes: weights,
            other_bytes: 0,
            adapter_bytes: 0,
            mapped_bytes: 0,
            working_bytes: working,
            modulation_bytes: 0,
            peak_bytes: weights + working,
            available_bytes: available,
            tiling: Tiling::Whole,
            streaming: None,
            prompts_at_once: 1,
            verdict: Verdict::Fits,
        }
    }

    #[test]
    fn a_streamed_model_is_loaded_anew_if_its_part_is_too_large_or_all_could_stay() {
        let on = |weights, working| {
            phase(
                PhaseName::Denoise,
                Place::Device,
                weights,
                working,
                Some(9 * GIB),
            )
        };
        let streamed = |weights, working| PhasePlan {
            streaming: Some(Streaming::default()),
            ..on(weights, working)
        };
        let whole = on(8 * GIB, GIB);
        assert!(can_stay(&whole, Some(&whole)));
        let part = streamed(8 * GIB, GIB);
        assert!(can_stay(&part, Some(&streamed(7 * GIB, GIB))));
        // The work is larger than when it was loaded.
        assert!(!can_stay(&part, Some(&streamed(7 * GIB, GIB + 1))));
        assert!(!can_stay(&part, Some(&on(8 * GIB, GIB))));
        assert!(!can_stay(&whole, Some(&streamed(7 * GIB, GIB))));
    }

    #[test]
    fn models_stay_beside_each_other_as_long_as_there_is_room() {
        let device = Place::Device;
        let on = |name, available| phase(name, device, 8 * GIB, GIB, available);
        let held = [on(PhaseName::Denoise, None), on(PhaseName::Encode, None)];
        let fits = |name, available| fits_beside(&held, Some(&on(name, available)));
        assert!(fits(PhaseName::Decode, Some(25 * GIB)));
        assert!(!fits(PhaseName::Decode, Some(25 * GIB - 1)));
        // A model that is there already needs room for its work alone.
        assert!(fits(PhaseName::Denoise, Some(17 * GIB)));
        assert!(!fits(PhaseName::Denoise, Some(17 * GIB - 1)));
        // What nobody knows is not there.
        assert!(!fits(PhaseName::Decode, None));
        assert!(fits_beside(&[], Some(&on(PhaseName::Decode, None))));
        // A model in host memory is in nobody's way on the device.
        let elsewhere = [phase(
            PhaseName::Encode,
            Place::Processor,
            64 * GIB,
            GIB,
            None,
        )];
        let decode = on(PhaseName::Decode, Some(9 * GIB));
        assert!(fits_beside(&elsewhere, Some(&decode)));
    }
}
