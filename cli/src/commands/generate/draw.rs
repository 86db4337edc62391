//! The phases after encoding, and which models are in memory meanwhile.

use backends::{ModelBackend, OnBackend};
use burn::tensor::TensorData;

use super::run::Run;
use super::{decode, denoise};
use crate::error::CliError;
use crate::hold;
use crate::interrupt;
use crate::plan::PhaseName;

/// Denoises and decodes all images.
pub(super) struct Draw<'r, 'a> {
    /// The run.
    pub(super) run: &'r mut Run<'a>,
    /// What was encoded for it.
    pub(super) encoded: Encoded,
}

/// What images are made from, in host memory.
pub(super) struct Encoded {
    /// The embeddings of the run's texts.
    pub(super) embeds: Vec<TensorData>,
    /// The moments of the init image at each of its sizes, if there is one.
    pub(super) moments: Vec<TensorData>,
}

impl OnBackend for Draw<'_, '_> {
    type Output = Result<(), CliError>;

    fn run<B: ModelBackend>(self, device: B::Device) -> Self::Output {
        let Self { run, encoded } = self;
        let several = run.job.images.len() > 1;
        let plan = run.plan_now::<B>(&device);
        if several && plan.decodes_beside() && !run.waiting.complete() {
            if let Some(decode) = plan.phase(PhaseName::Decode) {
                run.settle_tiling(decode.tiling);
            }
            one_by_one::<B>(run, &encoded, &device)?;
        } else {
            model_by_model::<B>(run, &encoded, &device)?;
        }
        run.tell_memory::<B>("Final VRAM", &device);
        Ok(())
    }
}

/// With both models in memory, so that each image is written as soon as it is denoised.
fn one_by_one<B: ModelBackend>(
    run: &mut Run<'_>,
    encoded: &Encoded,
    device: &B::Device,
) -> Result<(), CliError> {
    let transformer = denoise::load::<B>(run, device)?;
    let mut vae = None;
    for index in 0..run.job.images.len() {
        let latents = match run.waiting.take(index) {
            Some(latents) => latents,
            None => denoise::image(run, &transformer, encoded, index, device)?,
        };
        // What denoising worked in is the decoder's now, and the other way round.
        B::release_unused(device);
        let vae = match &mut vae {
            Some(vae) => vae,
            none => none.insert(decode::load::<B>(run, device)?),
        };
        decode::image(run, vae, latents, index, device)?;
        B::release_unused(device);
    }
    if let Some(vae) = vae {
        run.unload::<B, _>(vae, device)?;
    }
    run.unload::<B, _>(transformer, device)
}

/// With one model in memory at a time. The latents wait in host memory, so that any number of
/// images leaves the device's to the models, and on disk, where the next run finds them if this
/// one is killed; those of images that are denoised when the work is ended early are still
/// decoded.
fn model_by_model<B: ModelBackend>(
    run: &mut Run<'_>,
    encoded: &Encoded,
    device: &B::Device,
) -> Result<(), CliError> {
    let count = run.job.images.len();
    let mut waiting = Vec::new();
    let mut ended = Ok(());
    if run.waiting.complete() {
        let found = (0..count).filter_map(|index| Some((index, run.waiting.take(index)?)));
        waiting.extend(found);
    } else {
        let transformer = denoise::load::<B>(run, device)?;
        for index in 0..count {
            if let Some(latents) = run.waiting.take(index) {
                waiting.push((index, latents));
                continue;
            }
            if ended.is_err() {
                continue;
            }
            match denoise::image(run, &transformer, encoded, index, device) {
                Ok(latents) => {
                    run.waiting.keep(run.job, index, &latents);
                    hold::at(hold::Point::Denoised);
                    waiting.push((index, latents));
                }
                Err(error) => ended = Err(error),
            }
        }
        run.unload::<B, _>(transformer, device)?;
    }
    if waiting.is_empty() {
        return ended;
    }
    if ended.is_err() {
        run.job.console.note(&format!(
            "stopped; decoding what is denoised, {} of {count}; Ctrl-C ends that too",
            waiting.len()
        ));
        interrupt::forget();
    }
    // What ended the work early is what the user is told.
    ended.and(decode_all::<B>(run, waiting, device))
}

fn decode_all<B: ModelBackend>(
    run: &mut Run<'_>,
    latents: Vec<(usize, TensorData)>,
    device: &B::Device,
) -> Result<(), CliError> {
    let vae = decode::load::<B>(run, device)?;
    for (index, latents) in latents {
        decode::image(run, &vae, latents, index, device)?;
    }
    run.unload::<B, _>(vae, device)
}
