//! The first phase: prompts become embeddings.

use backends::{ModelBackend, OnBackend};
use burn::tensor::TensorData;
use engine::Error;
use engine::record::Trace;
use model::pipeline;
use model::tokenizer::PromptTokens;

use super::damage::blame;
use super::embeddings::Embeddings;
use super::image_job::ImageJob;
use super::observer::{Interruptible, to_host};
use super::run::Run;
use crate::error::CliError;
use crate::plan::PhaseName;
use crate::survey;

/// Loads the text encoder, encodes each text of the run whose embeddings are not known, and drops
/// it. The embeddings are in host memory, so that the text encoder can be on another device than
/// the transformer.
pub(super) struct Encode<'r, 'a> {
    /// The run.
    pub(super) run: &'r mut Run<'a>,
    /// What is known.
    pub(super) embeds: Embeddings,
}

impl OnBackend for Encode<'_, '_> {
    type Output = Result<Vec<TensorData>, CliError>;

    fn run<B: ModelBackend>(self, device: B::Device) -> Self::Output {
        let Self { run, mut embeds } = self;
        let job = run.job;
        let encoder = survey::text_encoder::<B>(&job.models.text_encoder, &device);
        let weights = &job.models.text_encoder.weights;
        let loaded = run.load(PhaseName::Encode, encoder, weights, &device)?;

        let dtype = run.setting.numerics(run.setting.encoder_place).dtype;
        let computing = run.compute::<B>(&device);
        let busy = run.progress.busy("Encoding the prompt");
        embeds.fill(job, |text| {
            let tokens = &job.texts[text];
            let embeds = B::in_exact_memory(&device, || {
                pipeline::encode_prompt(&loaded.module, tokens, dtype, &device, &Interruptible)
            })?;
            let shape = embeds.dims();
            let values = to_host(embeds)?;
            loaded.check_files()?;
            if !values.iter().all(|value| value.is_finite()) {
                let otherwise = Error::NotFiniteEmbeds(weights.source().into());
                return Err(blame(weights, job.console, otherwise));
            }
            Ok(TensorData::new(values, shape))
        })?;
        let embeds = embeds.into_all()?;
        drop(busy);
        run.computed(computing, &loaded.planned);
        run.unload::<B, _>(loaded, &device)?;
        if let (Some(trace), [image]) = (&mut run.trace, job.images.as_slice()) {
            record(trace, image, &job.texts, &embeds)?;
        }
        Ok(embeds)
    }
}

/// Adds an image's tokens and embeddings to the trace.
fn record(
    trace: &mut Trace,
    image: &ImageJob,
    texts: &[PromptTokens],
    embeds: &[TensorData],
) -> Result<(), CliError> {
    let ids = &texts[image.prompt].ids;
    let ids: Vec<i64> = ids.iter().map(|&id| i64::from(id)).collect();
    trace.add_i64("input_ids", &[1, ids.len()], &ids);
    let named = [
        ("prompt_embeds", Some(image.prompt)),
        ("negative_prompt_embeds", image.negative),
    ];
    for (name, text) in named {
        if let Some(text) = text {
            let data = &embeds[text];
            let values = data.as_slice::<f32>();
            let values = values.map_err(|error| CliError::internal(format!("{error:?}")))?;
            trace.add_f32(name, &data.shape, values);
        }
    }
    Ok(())
}
