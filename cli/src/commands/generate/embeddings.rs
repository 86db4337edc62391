//! The embeddings of a run's texts: those that earlier runs have left, and those that are to be
//! computed.

use backends::DeviceChoice;
use burn::tensor::TensorData;
use engine::prompt_cache::{Encoder, PromptCache};

use super::job::Job;
use crate::error::CliError;
use crate::plan::Setting;

/// Embeddings by the texts' numbers, f32 `[1, tokens, channels]` in host memory.
#[derive(Debug, Default)]
pub(super) struct Embeddings {
    /// Where they are kept for later runs.
    cache: Option<PromptCache>,
    /// Those that are known.
    known: Vec<Option<TensorData>>,
}

impl Embeddings {
    /// Looks up what earlier runs have left, and tells of it.
    pub(super) fn look_up(job: &Job<'_>, device: &DeviceChoice, setting: &Setting) -> Self {
        // The built-in model's files are written anew each time, and its encoder takes no time.
        let folder = job.config.prompt_cache.as_deref();
        let folder = folder.filter(|_| !job.config.sources.is_demo());
        let numerics = setting.numerics(setting.encoder_place);
        let encoder = Encoder {
            config: &job.models.text_encoder.config,
            weights: &job.models.text_encoder.weights,
            numerics: &format!("{numerics:?} {:?}", setting.weights),
        };
        let cache = folder.and_then(|folder| PromptCache::open(folder, encoder, device));
        let look_up = |tokens| cache.as_ref().and_then(|cache| cache.get(tokens));
        let known: Vec<_> = job.texts.iter().map(look_up).collect();
        let (found, all) = (known.iter().flatten().count(), known.len());
        if found == all {
            job.console
                .note("Prompt embeddings from the cache; the text encoder is not loaded");
        } else if found > 0 {
            job.console.note(&format!(
                "Prompt embeddings: {found} of {all} from the cache"
            ));
        }
        Self { cache, known }
    }

    /// Whether nothing is left to be computed.
    pub(super) fn complete(&self) -> bool {
        self.known.iter().all(Option::is_some)
    }

    /// Computes with `encode` what is not known, and keeps it.
    ///
    /// # Errors
    /// Those of `encode`.
    pub(super) fn fill(
        &mut self,
        job: &Job<'_>,
        mut encode: impl FnMut(usize) -> Result<TensorData, CliError>,
    ) -> Result<(), CliError> {
        for (text, known) in self.known.iter_mut().enumerate() {
            if known.is_none() {
                let embeds = encode(text)?;
                if let Some(cache) = &self.cache {
                    cache.put(&job.texts[text], &embeds);
                }
                *known = Some(embeds);
            }
        }
        Ok(())
    }

    /// All of them.
    ///
    /// # Errors
    /// [`CliError::Internal`] if one was not computed.
    pub(super) fn into_all(self) -> Result<Vec<TensorData>, CliError> {
        let all: Option<Vec<TensorData>> = self.known.into_iter().collect();
        all.ok_or_else(|| CliError::internal("a prompt was not encoded".to_owned()))
    }
}
