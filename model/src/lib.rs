//! Qwen-Image (Wu et al., "Qwen-Image Technical Report", arXiv 2508.02324), generic over the
//! Burn backend.
//!
//! A prompt is tokenised ([`tokenizer`]), encoded by Qwen2.5-VL's language model
//! ([`text_encoder`]), and guides a multimodal diffusion transformer ([`transformer`]) that
//! turns noise ([`noise`]) into latents, by the steps of a sampler ([`sampler`]) along a
//! flow-matching schedule ([`scheduler`]); a variational autoencoder ([`vae`]) decodes them. A run
//! may also begin with an image ([`init_image`]). [`pipeline`] strings the phases together.
//!
//! Modules and fields have the names of the reference's checkpoint keys. This crate knows no
//! files but the tokenizer's: parameters are filled from outside through Burn's `ModuleMapper`.

pub mod builder;
pub mod config;
pub mod family;
pub mod guidance;
pub mod init_image;
pub mod latents;
pub mod linear;
pub mod memory;
pub mod noise;
pub mod norm;
pub mod pipeline;
pub mod preview;
pub mod rotary;
pub mod sampler;
pub mod scheduler;
pub mod text_encoder;
pub mod tokenizer;
pub mod transformer;
pub mod vae;

pub use builder::Builder;
pub use config::{
    ConfigError, FolderScheduler, SchedulerConfig, TextEncoderConfig, TimeShift, TransformerConfig,
    VaeConfig,
};
pub use text_encoder::TextEncoder;
pub use tokenizer::{Tokenizer, TokenizerError};
pub use transformer::Transformer;
pub use vae::{VaeDecoder, VaeEncoder};
