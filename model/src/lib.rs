//! Qwen-Image (Wu et al., "Qwen-Image Technical Report", arXiv 2508.02324): the mathematics from a
//! prompt to pixels, generic over the Burn backend.
//!
//! | | formula | module |
//! | --- | --- | --- |
//! | prompt to tokens | `ids = BPE(template(prompt))` | [`tokenizer`] |
//! | tokens to embeddings | `c = Qwen2.5-VL(ids)`, the final hidden states after the template's prefix | [`text_encoder`] |
//! | noise | `x = ε ~ N(0, 1)` of a seed, in tokens of 2 x 2 latent pixels | [`noise`], [`latents`] |
//! | noise levels | `1 ≥ σ₀ > σ₁ > … > 0`, shifted by the image's size | [`scheduler`] |
//! | velocity | `v = MMDiT(x, σ, c)`: image and text tokens attend to each other in 60 blocks | [`transformer`] |
//! | guidance | `w = u + s (v - u)` with the negative prompt's velocity `u`, then `v = w ‖v‖ / ‖w‖` | [`guidance`] |
//! | a step | `x += (σᵢ₊₁ - σᵢ) v`, or a solver of higher order | [`sampler`] |
//! | latents to pixels | `image = VAE(x std + mean)` | [`vae`] |
//!
//! [`pipeline`] strings these together. A run may also begin with an image and a mask
//! ([`init_image`]), whose latents are `(1 - σ) x₀ + σ ε`, and [`preview`] sees an image in
//! unfinished latents. [`family`] has the defaults of a published model, [`config`] reads the sizes
//! of one from its files, and [`memory`] tells the memory that each phase needs.
//!
//! The crate reads no files but the tokenizer's. A [`Builder`] makes modules without memory and notes
//! the name of the tensor that fills each parameter, by the parameter's id; a loader fills them from
//! outside, through Burn's `ModuleMapper`.
//!
//! ```
//! use backends::ModelBackend;
//! use burn::tensor::{FloatDType, Tensor};
//! use model::family::QWEN_IMAGE;
//! use model::guidance::{Guidance, GuidanceRule};
//! use model::latents::TokenGrid;
//! use model::pipeline::{self, Denoising, PipelineError};
//! use model::scheduler::Schedule;
//! use model::tokenizer::PromptTokens;
//! use model::vae::Tiling;
//! use model::{Resident, TextEncoder, Transformer, VaeDecoder};
//!
//! /// Draws a prompt guided by a negative one: pixels f32 `[1, 3, height, width]` in `[-1, 1]`.
//! fn draw<B: ModelBackend>(
//!     (encoder, transformer, vae): (&TextEncoder<B>, &Transformer<B>, &VaeDecoder<B>),
//!     [prompt, negative]: [&PromptTokens; 2],
//!     schedule: &Schedule,
//!     grid: TokenGrid,
//!     device: &B::Device,
//! ) -> Result<Tensor<B, 4>, PipelineError> {
//!     let dtype = FloatDType::F32;
//!     let encode = |tokens| pipeline::encode_prompt(encoder, tokens, dtype, device, &());
//!     let noise = pipeline::noise_of_seed(42, 16, grid, device);
//!     let mut work = Denoising::new(encode(prompt)?, noise, grid, schedule);
//!     work.guidance = Some(Guidance {
//!         embeds: encode(negative)?,
//!         scale: QWEN_IMAGE.cfg_scale,
//!         rule: GuidanceRule::Renormalised,
//!     });
//!     let timesteps = schedule.timesteps(0);
//!     let mut layers = Resident(&transformer.block_modulations);
//!     let modulations =
//!         pipeline::modulations(transformer, &mut layers, &timesteps, dtype, device, &())?;
//!     let mut blocks = Resident(&transformer.transformer_blocks);
//!     let latents = pipeline::denoise(transformer, &mut blocks, &modulations, work, &mut ())?;
//!     pipeline::decode(vae, latents, grid, Tiling::Whole, &())
//! }
//!
//! let size = QWEN_IMAGE.default_size();
//! let grid = TokenGrid::of_image(size.width as usize, size.height as usize);
//! let schedule = Schedule::new(&QWEN_IMAGE.scheduler, QWEN_IMAGE.steps, grid.tokens())?;
//! assert_eq!((grid.tokens(), schedule.steps()), (83 * 83, 50));
//! # let _ = draw::<burn_flex::Flex>;
//! # Ok::<(), model::scheduler::ScheduleError>(())
//! ```

mod block_source;
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

pub use block_source::{BlockSource, Resident};
pub use builder::Builder;
pub use config::{
    ConfigError, FolderScheduler, SchedulerConfig, TextEncoderConfig, TimeShift, TransformerConfig,
    VaeConfig,
};
pub use text_encoder::TextEncoder;
pub use tokenizer::{Tokenizer, TokenizerError};
pub use transformer::Transformer;
pub use vae::{VaeDecoder, VaeEncoder};
