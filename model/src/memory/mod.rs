//! The memory that each phase needs at its peak beside its weights: feature maps, and the memory
//! that kernels hold while they run ([`backends::working_memory`]).
//!
//! Each function follows a module's forward pass line by line and adds up the tensors that are
//! alive. The sums are upper bounds. For the processor's kernels they are tested against measured
//! peaks; a GPU's memory pool, which may keep more than is in use, is part of the figures.

mod ledger;
mod text_encoder;
mod transformer;
mod vae;

pub use text_encoder::text_encoder;
pub use transformer::{DenoisingSizes, modulation_table, modulations, transformer};
pub use vae::{vae_decoder, vae_encoder};

#[cfg(test)]
mod tests;
