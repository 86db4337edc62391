//! The first phase: prompts become embeddings.

use backends::{ModelBackend, OnBackend};
use burn::tensor::TensorData;
use model::pipeline;
use model::tokenizer::PromptTokens;

use super::observer::{Interruptible, to_host};
use super::run::Run;
use crate::error::CliError;
use crate::plan::PhaseName;
use crate::survey;

/// The embeddings of a prompt and of a negative one, f32 `[1, tokens, channels]`. They are in
/// host memory, so that the text encoder can be on another device than the transformer.
pub(super) struct Embeds {
    /// Of the prompt.
    pub(super) prompt: TensorData,
    /// Of the negative prompt, where there is guidance.
    pub(super) negative: Option<TensorData>,
}

/// Loads the text encoder, encodes all prompts, and drops it.
pub(super) struct Encode<'r, 'a>(pub(super) &'r mut Run<'a>);

impl OnBackend for Encode<'_, '_> {
    type Output = Result<Embeds, CliError>;

    fn run<B: ModelBackend>(self, device: B::Device) -> Self::Output {
        let Self(run) = self;
        let job = run.job;
        let encoder = survey::text_encoder::<B>(&job.models, &device);
        let weights = &job.models.text_encoder.weights;
        let loaded = run.load(PhaseName::Encode, encoder, weights, &device)?;

        let dtype = run.setting.numerics(run.setting.encoder_place).dtype;
        let computing = run.compute::<B>(&device);
        let busy = run.progress.busy("Encoding the prompt");
        let encode = |tokens: &PromptTokens| {
            let embeds = B::in_exact_memory(&device, || {
                pipeline::encode_prompt(&loaded.module, tokens, dtype, &device, &Interruptible)
            })?;
            let shape = embeds.dims();
            Ok::<_, CliError>(TensorData::new(to_host(embeds)?, shape))
        };
        let prompt = encode(&job.prompt)?;
        let negative = job.negative_prompt.as_ref().map(encode).transpose()?;
        drop(busy);
        run.computed(computing, &loaded.planned);
        run.unload::<B, _>(loaded, &device)?;

        if let Some(trace) = &mut run.trace {
            let ids: Vec<i64> = job.prompt.ids.iter().map(|&id| i64::from(id)).collect();
            trace.add_i64("input_ids", &[1, ids.len()], &ids);
            let texts = [
                ("prompt_embeds", Some(&prompt)),
                ("negative_prompt_embeds", negative.as_ref()),
            ];
            for (name, data) in texts {
                if let Some(data) = data {
                    let values = data.as_slice::<f32>();
                    let values =
                        values.map_err(|error| CliError::Internal(format!("{error:?}")))?;
                    trace.add_f32(name, &data.shape, values);
                }
            }
        }
        Ok(Embeds { prompt, negative })
    }
}
