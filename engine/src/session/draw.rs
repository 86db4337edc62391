//! The phases after encoding, and which models are in memory meanwhile.

use backends::{ModelBackend, OnBackend};
use burn::tensor::TensorData;
use model::Transformer;
use model::transformer::Modulations;

use super::load::Loaded;
use super::residency::{Decoding, Denoise, Keep, Residents, acquire, release};
use super::run::Run;
use super::{Places, decode, denoise};
use crate::error::Error;
use crate::events::{Event, MemoryWhen, Status};
use crate::plan::PhaseName;

/// Denoises and decodes all images.
pub(super) struct Draw<'r, 'a> {
    /// The job under way.
    pub(super) run: &'r mut Run<'a>,
    /// The models that stay.
    pub(super) places: &'r mut Places,
    /// The encoded texts and images to start from.
    pub(super) encoded: Encoded,
}

/// Encoded texts and images to start from, in host memory.
pub(super) struct Encoded {
    /// The embeddings of the job's texts.
    pub(super) embeds: Vec<TensorData>,
    /// The moments of the images to start from, in the order of the job's starts.
    pub(super) moments: Vec<TensorData>,
}

impl OnBackend for Draw<'_, '_> {
    type Output = Result<(), Error>;

    fn run<B: ModelBackend>(self, device: B::Device) -> Self::Output {
        let Self {
            run,
            places,
            encoded,
        } = self;
        let mut residents = Residents::<B>::take(&mut places.device);
        let drawn = draw::<B>(run, &mut residents, &encoded, &device);
        if run.leaves_models(&drawn) {
            places.device = Some(Box::new(residents));
        }
        drawn?;
        run.tell_memory::<B>(MemoryWhen::Done, &device);
        Ok(())
    }
}

fn draw<B: ModelBackend>(
    run: &mut Run<'_>,
    residents: &mut Residents<B>,
    encoded: &Encoded,
    device: &B::Device,
) -> Result<(), Error> {
    let several = run.job.images().len() > 1;
    let plan = run.plan_without::<B>(&residents.planned(), device);
    if several && plan.decodes_beside() && !run.waiting.complete() {
        if let Some(decode) = plan.phase(PhaseName::Decode) {
            run.settle_tiling(decode.tiling);
        }
        one_by_one::<B>(run, residents, encoded, device)
    } else {
        model_by_model::<B>(run, residents, encoded, device)
    }
}

/// Draws with both models in memory, so that each image is handed over as soon as it is denoised.
fn one_by_one<B: ModelBackend>(
    run: &mut Run<'_>,
    residents: &mut Residents<B>,
    encoded: &Encoded,
    device: &B::Device,
) -> Result<(), Error> {
    let transformer = acquire::<B, Denoise>(run, residents, device)?;
    let mut table = std::mem::take(&mut residents.modulations);
    let mut vae = None;
    let drawn = (0..run.job.images().len()).try_for_each(|index| {
        let latents = match run.waiting.take(index) {
            Some(latents) => latents,
            None => denoise::image(run, &transformer, encoded, &mut table, index, device)?,
        };
        // What denoising worked in is the decoder's now, and the other way round.
        B::release_unused(device);
        let vae: &Loaded<B, _> = match &mut vae {
            Some(vae) => vae,
            none => none.insert(acquire::<B, Decoding>(run, residents, device)?),
        };
        decode::image(run, vae, latents, index, device)?;
        B::release_unused(device);
        Ok(())
    });
    if run.leaves_models(&drawn) {
        if let Some(vae) = vae {
            release::<B, Decoding>(run, residents, vae, device)?;
        }
        release_transformer(run, residents, transformer, table, device)?;
    }
    drawn
}

/// Draws with one model at work at a time. The latents wait in host memory, so that any number of
/// images leaves the device's to the models, and on disk, where the next run finds them if this
/// one is killed; those of images that are denoised when the work is ended early are still
/// decoded.
fn model_by_model<B: ModelBackend>(
    run: &mut Run<'_>,
    residents: &mut Residents<B>,
    encoded: &Encoded,
    device: &B::Device,
) -> Result<(), Error> {
    let count = run.job.images().len();
    let mut waiting = Vec::new();
    let mut ended = Ok(());
    if run.waiting.complete() {
        let found = (0..count).filter_map(|index| Some((index, run.waiting.take(index)?)));
        waiting.extend(found);
    } else {
        let transformer = acquire::<B, Denoise>(run, residents, device)?;
        let mut table = std::mem::take(&mut residents.modulations);
        for index in 0..count {
            if let Some(latents) = run.waiting.take(index) {
                waiting.push((index, latents));
                continue;
            }
            if ended.is_err() {
                continue;
            }
            match denoise::image(run, &transformer, encoded, &mut table, index, device) {
                Ok(latents) => {
                    run.keep_latents(index, &latents);
                    run.observer.event(Event::Kept { index });
                    waiting.push((index, latents));
                }
                Err(error) => ended = Err(error),
            }
        }
        release_transformer(run, residents, transformer, table, device)?;
    }
    if waiting.is_empty() {
        return ended;
    }
    if ended.is_err() {
        run.tell(Status::DecodingTheRest {
            denoised: waiting.len(),
            all: count,
        });
        run.cancel.rearm();
    }
    // What ended the work early is what the caller is told.
    ended.and(decode_all::<B>(run, residents, waiting, device))
}

/// Keeps the transformer with the modulations that were computed with it, or drops both.
fn release_transformer<B: ModelBackend>(
    run: &mut Run<'_>,
    residents: &mut Residents<B>,
    transformer: Loaded<B, Transformer<B>>,
    table: Modulations<B>,
    device: &B::Device,
) -> Result<(), Error> {
    match run.keep {
        Keep::WhatFits => residents.modulations = table,
        Keep::OneAtATime => drop(table),
    }
    release::<B, Denoise>(run, residents, transformer, device)
}

fn decode_all<B: ModelBackend>(
    run: &mut Run<'_>,
    residents: &mut Residents<B>,
    latents: Vec<(usize, TensorData)>,
    device: &B::Device,
) -> Result<(), Error> {
    let vae = acquire::<B, Decoding>(run, residents, device)?;
    for (index, latents) in latents {
        decode::image(run, &vae, latents, index, device)?;
    }
    release::<B, Decoding>(run, residents, vae, device)
}
