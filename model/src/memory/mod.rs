//! The memory that each phase needs at its peak beside its weights: feature maps, and what the
//! kernels hold while they run.
//!
//! The functions go through the modules' forward passes line by line, and add up what is alive.
//! They are upper bounds, held against measured peaks for the processor's kernels; a backend's
//! pools, which may keep more than is in use, come on top.

mod kernels;
mod ledger;
mod text_encoder;
mod transformer;
mod vae;

pub use text_encoder::text_encoder;
pub use transformer::transformer;
pub use vae::vae_decoder;

use backends::ModelBackend;
use burn::tensor::FloatDType;

/// What decides, beside the sizes, how much memory a computation takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Numerics {
    /// What activations are in.
    pub dtype: FloatDType,
    /// Which kernels run.
    pub kernels: Kernels,
}

/// The kernels of a backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kernels {
    /// The processor's own. They work in f32 and in place, each thread on a scratch of its own.
    Processor {
        /// Threads that work at the same time.
        threads: usize,
    },
    /// The bodies made of Burn's operations, which hold f32 copies, decoded weights and attention
    /// scores.
    Portable,
}

impl Numerics {
    /// Those of a backend that computes in `dtype`.
    pub fn of<B: ModelBackend>(dtype: FloatDType) -> Self {
        let kernels = if B::HOST_MEMORY {
            Kernels::Processor {
                threads: std::thread::available_parallelism().map_or(1, usize::from),
            }
        } else {
            Kernels::Portable
        };
        Self { dtype, kernels }
    }

    /// As these, with activations in f32.
    fn in_f32(self) -> Self {
        Self {
            dtype: FloatDType::F32,
            ..self
        }
    }
}
