//! Why a phase has no result.

use std::error::Error;

/// Why a phase has no result.
#[derive(Debug, thiserror::Error)]
pub enum PipelineError {
    /// The observer asked the phase to stop.
    #[error("interrupted")]
    Cancelled,
    /// The numbers left the range of their dtype; the image would be black.
    #[error("the transformer gave numbers that are not finite at step {step}")]
    NotFinite {
        /// The step, counted from 1.
        step: usize,
    },
    /// A token id has no row in the embedding.
    #[error(
        "token id {id} has no row in the text encoder's embedding of {rows}: the tokenizer belongs to another model"
    )]
    TokenOutOfRange {
        /// The id.
        id: u32,
        /// Rows of the embedding.
        rows: usize,
    },
    /// The table of modulations lacks a timestep that the sampler asks for.
    #[error("the modulations of timestep {0} were not computed")]
    TimestepMissing(f32),
    /// The source of a model's blocks could not lend one.
    #[error(transparent)]
    Blocks(Box<dyn Error + Send + Sync>),
}

impl PipelineError {
    /// Wraps what a source of blocks says.
    pub(super) fn blocks(error: impl Error + Send + Sync + 'static) -> Self {
        Self::Blocks(Box::new(error))
    }
}
