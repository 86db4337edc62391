//! The first phase: prompts become embeddings.

use backends::{ModelBackend, OnBackend};
use burn::tensor::{DType, FloatDType, Tensor, TensorData};
use loader::{Weights, read_rows};
use model::pipeline::{self, PipelineError};
use model::tokenizer::PromptTokens;

use super::Places;
use super::blocks::streamed_since;
use super::damage::blame;
use super::embeddings::Embeddings;
use super::load::Loaded;
use super::residency::{Encoding, Residents, acquire, release};
use super::run::Run;
use super::to_host::{Interruptible, to_host};
use crate::error::Error;
use crate::events::{Activity, Event};
use crate::plan::TABLE;

/// Encodes each text of the job whose embeddings are not known. The embeddings are in host memory,
/// so that the text encoder can be on another device than the transformer.
pub(super) struct Encode<'r, 'a> {
    /// The job under way.
    pub(super) run: &'r mut Run<'a>,
    /// The models that stay.
    pub(super) places: &'r mut Places,
    /// True if the text encoder is on another device than the rest.
    pub(super) elsewhere: bool,
    /// The embeddings that are known.
    pub(super) embeds: Embeddings,
}

impl OnBackend for Encode<'_, '_> {
    type Output = Result<Vec<TensorData>, Error>;

    fn run<B: ModelBackend>(self, device: B::Device) -> Self::Output {
        let place = if self.elsewhere {
            &mut self.places.encoder
        } else {
            &mut self.places.device
        };
        let mut residents = Residents::<B>::take(place);
        let run = self.run;
        let loaded = acquire::<B, Encoding>(run, &mut residents, &device)?;
        let embeds = encode::<B>(run, &loaded, self.embeds, &device);
        if run.leaves_models(&embeds) {
            release::<B, Encoding>(run, &mut residents, loaded, &device)?;
            *place = Some(Box::new(residents));
        }
        let embeds = embeds?;
        record(run, &embeds)?;
        Ok(embeds)
    }
}

fn encode<B: ModelBackend>(
    run: &mut Run<'_>,
    loaded: &Loaded<B, model::TextEncoder<B>>,
    mut embeds: Embeddings,
    device: &B::Device,
) -> Result<Vec<TensorData>, Error> {
    let job = run.job;
    let weights = &run.session.models.text_encoder.weights;
    let dtype = run.setting.numerics(run.setting.encoder_place).dtype;
    let computing = run.compute::<B>(device);
    let before = loaded.streamed();
    run.observer.event(Event::Begin(Activity::EncodePrompts));
    embeds.fill(job, loaded.planned.prompts_at_once, |texts| {
        let tokens: Vec<&PromptTokens> = texts.iter().map(|text| &job.texts[*text]).collect();
        let encoder = &loaded.module;
        let embeds = B::with_exact_allocations(device, || {
            let mut embed = |ids: &[u32]| match loaded.planned.streaming {
                Some(_) => rows::<B>(weights, ids, dtype, device),
                None => Ok(encoder.embed(ids, dtype, device)),
            };
            let mut layers = loaded.blocks(&encoder.layers, run.cancel, None);
            let cancel = Interruptible(run.cancel);
            pipeline::encode_prompts(encoder, &mut layers, &tokens, &mut embed, &cancel)
        })?;
        loaded.check_files()?;
        let mut encoded = Vec::with_capacity(embeds.len());
        for embeds in embeds {
            let shape = embeds.dims();
            let values = to_host(run, embeds)?;
            if !values.iter().all(|value| value.is_finite()) {
                let otherwise = Error::NotFiniteEmbeds(weights.source().into());
                return Err(blame(run, weights, otherwise));
            }
            encoded.push(TensorData::new(values, shape));
        }
        Ok(encoded)
    })?;
    let streamed = streamed_since(before, loaded.streamed());
    let embeds = embeds.into_all()?;
    run.observer.event(Event::End);
    run.computed(computing, &loaded.planned, streamed);
    Ok(embeds)
}

/// Reads the embeddings of token ids from the file of a text encoder that holds no table of them:
/// `[1, tokens, hidden_size]` in `dtype`.
///
/// # Errors
/// A file that cannot be read.
fn rows<B: ModelBackend>(
    weights: &Weights,
    ids: &[u32],
    dtype: FloatDType,
    device: &B::Device,
) -> Result<Tensor<B, 3>, PipelineError> {
    let values = read_rows(weights, TABLE, ids);
    let values = values.map_err(|error| PipelineError::Blocks(Box::new(error)))?;
    let channels = values.len() / ids.len().max(1);
    let values = TensorData::new(values, [1, ids.len(), channels]);
    let vectors: Tensor<B, 3> = Tensor::from_data(values, (device, DType::F32));
    Ok(vectors.cast(dtype))
}

/// Tells the tokens and embeddings of a job of one image.
fn record(run: &mut Run<'_>, embeds: &[TensorData]) -> Result<(), Error> {
    let [image] = run.job.images() else {
        return Ok(());
    };
    if !run.observer.wants_tensors() {
        return Ok(());
    }
    let ids = &run.job.texts[image.prompt].ids;
    let ids: Vec<i64> = ids.iter().map(|&id| i64::from(id)).collect();
    run.trace_whole("input_ids", &[1, ids.len()], &ids);
    let named = [
        ("prompt_embeds", Some(image.prompt)),
        ("negative_prompt_embeds", image.negative),
    ];
    for (name, text) in named {
        if let Some(text) = text {
            let data = &embeds[text];
            let values = data.as_slice::<f32>();
            let values = values.map_err(|error| Error::Internal(format!("{error:?}")))?;
            run.trace(name, &data.shape, values);
        }
    }
    Ok(())
}
