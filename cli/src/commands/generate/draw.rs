//! The phases after encoding, and which models are in memory meanwhile.

use backends::{ModelBackend, OnBackend};
use burn::tensor::TensorData;

use super::run::Run;
use super::{decode, denoise};
use crate::error::CliError;
use crate::interrupt;

/// Denoises and decodes all pictures.
pub(super) struct Draw<'r, 'a> {
    /// The run.
    pub(super) run: &'r mut Run<'a>,
    /// The embeddings of its texts.
    pub(super) embeds: Vec<TensorData>,
}

impl OnBackend for Draw<'_, '_> {
    type Output = Result<(), CliError>;

    fn run<B: ModelBackend>(self, device: B::Device) -> Self::Output {
        let Self { run, embeds } = self;
        let several = run.job.pictures.len() > 1;
        if several && run.plan_now::<B>(&device).decodes_beside() {
            picture_by_picture::<B>(run, &embeds, &device)?;
        } else {
            model_by_model::<B>(run, &embeds, &device)?;
        }
        run.tell_memory::<B>("Final VRAM", &device);
        Ok(())
    }
}

/// With both models in memory, so that each picture is written as soon as it is denoised.
fn picture_by_picture<B: ModelBackend>(
    run: &mut Run<'_>,
    embeds: &[TensorData],
    device: &B::Device,
) -> Result<(), CliError> {
    let transformer = denoise::load::<B>(run, device)?;
    let mut vae = None;
    for index in 0..run.job.pictures.len() {
        let latents = denoise::picture(run, &transformer, embeds, index, device)?;
        let vae = match &mut vae {
            Some(vae) => vae,
            none => {
                // What denoising worked in is the decoder's now.
                B::release_unused(device);
                none.insert(decode::load::<B>(run, device)?)
            }
        };
        decode::picture(run, vae, latents, index, device)?;
    }
    if let Some(vae) = vae {
        run.unload::<B, _>(vae, device)?;
    }
    run.unload::<B, _>(transformer, device)
}

/// With one model in memory at a time. The latents wait in host memory, so that any number of
/// pictures leaves the device's to the models; those of pictures that are denoised when the work
/// is ended early are still decoded.
fn model_by_model<B: ModelBackend>(
    run: &mut Run<'_>,
    embeds: &[TensorData],
    device: &B::Device,
) -> Result<(), CliError> {
    let transformer = denoise::load::<B>(run, device)?;
    let mut waiting = Vec::new();
    let mut ended = Ok(());
    for index in 0..run.job.pictures.len() {
        match denoise::picture(run, &transformer, embeds, index, device) {
            Ok(latents) => waiting.push(latents),
            Err(error) => {
                ended = Err(error);
                break;
            }
        }
    }
    run.unload::<B, _>(transformer, device)?;
    if waiting.is_empty() {
        return ended;
    }
    if ended.is_err() {
        let done = waiting.len();
        run.job.console.note(&format!(
            "stopped; decoding what is denoised, {done} of {}; Ctrl-C ends that too",
            run.job.pictures.len()
        ));
        interrupt::forget();
    }
    // What ended the work early is what the user is told.
    ended.and(decode_all::<B>(run, waiting, device))
}

fn decode_all<B: ModelBackend>(
    run: &mut Run<'_>,
    latents: Vec<TensorData>,
    device: &B::Device,
) -> Result<(), CliError> {
    let vae = decode::load::<B>(run, device)?;
    for (index, latents) in latents.into_iter().enumerate() {
        decode::picture(run, &vae, latents, index, device)?;
    }
    run.unload::<B, _>(vae, device)
}
