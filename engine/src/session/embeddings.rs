//! The embeddings of a job's texts: those that earlier runs have left, and those that are to be
//! computed.

use burn::tensor::TensorData;

use super::Session;
use super::job::Job;
use crate::error::Error;
use crate::events::Status;
use crate::prompt_cache::{Encoder, PromptCache};

/// Embeddings by the texts' numbers, f32 `[1, tokens, channels]` in host memory.
#[derive(Debug, Default)]
pub struct Embeddings {
    /// The cache that keeps them for later runs.
    cache: Option<PromptCache>,
    /// The embeddings that are known.
    known: Vec<Option<TensorData>>,
}

impl Session {
    /// Looks up the embeddings that earlier runs have left.
    pub fn embeddings(&self, job: &Job) -> Embeddings {
        let device = self.device.map(|device| self.encoder_device(&device));
        let folder = self.kept.embeddings.as_deref();
        let numerics = self.setting.numerics(self.setting.encoder_place);
        let encoder = Encoder {
            config: &self.models.text_encoder.config,
            weights: &self.models.text_encoder.weights,
            numerics: &format!("{numerics:?} {:?}", self.setting.weights),
        };
        let cache = folder
            .zip(device)
            .and_then(|(folder, device)| PromptCache::open(folder, encoder, &device));
        let look_up = |tokens| cache.as_ref().and_then(|cache| cache.get(tokens));
        let known = job.texts.iter().map(look_up).collect();
        Embeddings { cache, known }
    }
}

impl Embeddings {
    /// How much is known, if anything is.
    pub fn status(&self) -> Option<Status> {
        let (found, all) = (self.known.iter().flatten().count(), self.known.len());
        match found {
            _ if found == all => Some(Status::AllEmbeddingsKept),
            0 => None,
            found => Some(Status::EmbeddingsKept { found, all }),
        }
    }

    /// Tells whether nothing is left to be computed.
    pub fn complete(&self) -> bool {
        self.known.iter().all(Option::is_some)
    }

    /// Computes with `encode` what is not known, so many texts at once, and keeps it.
    ///
    /// # Errors
    /// Those of `encode`.
    pub(super) fn fill(
        &mut self,
        job: &Job,
        at_once: usize,
        mut encode: impl FnMut(&[usize]) -> Result<Vec<TensorData>, Error>,
    ) -> Result<(), Error> {
        let is_missing = |text: &usize| self.known[*text].is_none();
        let missing: Vec<usize> = (0..self.known.len()).filter(is_missing).collect();
        for texts in missing.chunks(at_once.max(1)) {
            for (text, embeds) in texts.iter().zip(encode(texts)?) {
                if let Some(cache) = &self.cache {
                    cache.put(&job.texts[*text], &embeds);
                }
                self.known[*text] = Some(embeds);
            }
        }
        Ok(())
    }

    /// Returns all of them.
    ///
    /// # Errors
    /// [`Error::Internal`] if one was not computed.
    pub(super) fn into_all(self) -> Result<Vec<TensorData>, Error> {
        let all: Option<Vec<TensorData>> = self.known.into_iter().collect();
        all.ok_or_else(|| Error::Internal("a prompt was not encoded".to_owned()))
    }
}
