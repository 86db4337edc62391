//! How the work goes, in a line.

use std::fmt;

/// A line about how the work goes.
#[derive(Debug, Clone, PartialEq)]
pub enum Status {
    /// The embeddings of all prompts are kept from earlier runs.
    AllEmbeddingsKept,
    /// The embeddings of some prompts are kept from earlier runs.
    EmbeddingsKept {
        /// Their number.
        found: usize,
        /// The number of all prompts.
        all: usize,
    },
    /// Latents are kept from an earlier run.
    LatentsKept {
        /// How many images an earlier run has denoised.
        images: usize,
    },
    /// The work is ended early, and what is denoised is decoded first. The token that ended it is
    /// armed again, and ends that too.
    DecodingTheRest {
        /// Images that are denoised.
        denoised: usize,
        /// Images of the job.
        all: usize,
    },
    /// A model gave numbers that are not finite, and its files are searched for such ones.
    LookingForNotFinite {
        /// The model's name.
        model: String,
    },
    /// A model's memory is still in use after it was dropped.
    Leak(String),
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AllEmbeddingsKept => {
                f.write_str("Prompt embeddings from the cache; the text encoder is not loaded")
            }
            Self::EmbeddingsKept { found, all } => {
                write!(f, "Prompt embeddings: {found} of {all} from the cache")
            }
            Self::LatentsKept { images } => write!(
                f,
                "{images} images were denoised by an earlier run, and are only decoded"
            ),
            Self::DecodingTheRest { denoised, all } => {
                write!(f, "stopped; decoding what is denoised, {denoised} of {all}")
            }
            Self::LookingForNotFinite { model } => write!(
                f,
                "numbers that are not finite; looking for such ones in {model}"
            ),
            Self::Leak(leak) => write!(f, "warning: {leak}"),
        }
    }
}
