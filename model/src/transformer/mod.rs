//! The multimodal diffusion transformer (MMDiT; Esser et al., "Scaling Rectified Flow
//! Transformers", 2024, as changed by Qwen-Image): image and text tokens, each with weights of
//! their own, attend to each other in every block.

mod arithmetic;
mod attention;
mod block;
mod block_modulation;
mod layers;
mod modulation;
mod modulations;
mod prompts;
mod residual;
mod rope;
mod streams;
mod timestep;

pub use attention::JointAttention;
pub use block::{FeedForward, TransformerBlock};
pub use block_modulation::BlockModulation;
pub use modulation::Modulation;
pub use modulations::{Modulations, TIMESTEPS_AT_ONCE, TimestepModulation, table_rows};
pub use prompts::Prompts;
pub use residual::Residual;
pub use rope::{JointRotary, RopeCentring, image_angles, text_angles};
pub use streams::{JointLayout, Streams};
pub use timestep::{TimestepEmbedding, TimestepProjection, sinusoid};

use backends::ModelBackend;
use backends::fp8::modulated_layer_norm;
use backends::fused::concatenate;
use burn::module::Module;
use burn::tensor::backend::Backend;
use burn::tensor::{FloatDType, Tensor};

use self::modulation::{EPSILON, split};
use self::streams::of_one_branch;
use crate::block_source::{BlockSource, Resident};
use crate::builder::Builder;
use crate::config::TransformerConfig;
use crate::latents::TokenGrid;
use crate::linear::Linear;
use crate::norm::RmsNorm;

/// Predicts, for noisy image tokens and each of some prompts, the velocity from image to noise.
#[derive(Module, Debug)]
pub struct Transformer<B: Backend> {
    /// From the features of an image token to the residual stream.
    pub img_in: Linear<B>,
    /// The norm of the prompt's embeddings.
    pub txt_norm: RmsNorm<B>,
    /// From the prompt's embeddings to the residual stream.
    pub txt_in: Linear<B>,
    /// From the timestep to the vector that modulates every block.
    pub time_text_embed: TimestepEmbedding<B>,
    /// The blocks.
    pub transformer_blocks: Vec<TransformerBlock<B>>,
    /// The layers that modulate each block. A pass does without them.
    pub block_modulations: Vec<BlockModulation<B>>,
    /// The norm of the output, modulated by the noise level.
    pub norm_out: OutputNorm<B>,
    /// From the residual stream to the features of an image token.
    pub proj_out: Linear<B>,
    axes_dims_rope: [usize; 3],
}

impl<B: Backend> Transformer<B> {
    /// A transformer whose parameters wait for a loader.
    pub fn uninitialized(config: &TransformerConfig, root: &Builder<B>) -> Self {
        let inner = config.inner_dim();
        Self {
            img_in: root.linear("img_in", config.in_channels, inner, true),
            txt_norm: root.rms_norm("txt_norm", config.joint_attention_dim, EPSILON),
            txt_in: root.linear("txt_in", config.joint_attention_dim, inner, true),
            time_text_embed: TimestepEmbedding::uninitialized(inner, &root.at("time_text_embed")),
            transformer_blocks: root.list("transformer_blocks", config.num_layers, |block, _| {
                TransformerBlock::uninitialized(config, block)
            }),
            block_modulations: root.list("transformer_blocks", config.num_layers, |block, _| {
                BlockModulation::uninitialized(config, block)
            }),
            norm_out: OutputNorm {
                linear: root.at("norm_out").linear("linear", inner, 2 * inner, true),
            },
            proj_out: root.linear("proj_out", inner, config.in_channels, true),
            axes_dims_rope: config.axes_dims_rope,
        }
    }
}

impl<B: ModelBackend> Transformer<B> {
    /// One branch for each of `embeds`, of an image of `grid` tokens. There must be at least one;
    /// they are f32 `[1, text tokens, joint_attention_dim]`, each of its own length. `centring`
    /// is where the image's middle lies.
    pub fn prompts(
        &self,
        embeds: Vec<Tensor<B, 3>>,
        grid: TokenGrid,
        centring: RopeCentring,
    ) -> Prompts<B> {
        Prompts::new(embeds, grid, centring, self.axes_dims_rope)
    }

    /// Predicts one velocity for each prompt, all from the same latents, with this transformer's own
    /// blocks.
    ///
    /// * `latents`: f32 `[1, image tokens, in_channels]`.
    /// * `prompts`: see [`prompts`](Self::prompts).
    /// * `timestep`: the modulations of the latents' timestep; see
    ///   [`modulations`](Self::modulations).
    /// * `dtype`: the dtype in which the blocks compute.
    ///
    /// Returns f32 `[prompts, image tokens, in_channels]`. `cancelled` is asked before each
    /// block; once it says so, there is no result.
    pub fn forward(
        &self,
        latents: Tensor<B, 3>,
        prompts: &Prompts<B>,
        timestep: TimestepModulation<'_, B>,
        dtype: FloatDType,
        cancelled: &dyn Fn() -> bool,
    ) -> Option<Tensor<B, 3>> {
        let mut blocks = Resident(&self.transformer_blocks);
        let Ok(velocities) =
            self.forward_through(&mut blocks, latents, prompts, timestep, dtype, cancelled);
        velocities
    }

    /// [`forward`](Self::forward) through blocks that a source lends.
    ///
    /// # Errors
    /// The source could not lend a block.
    pub fn forward_through<S: BlockSource<TransformerBlock<B>>>(
        &self,
        blocks: &mut S,
        latents: Tensor<B, 3>,
        prompts: &Prompts<B>,
        timestep: TimestepModulation<'_, B>,
        dtype: FloatDType,
        cancelled: &dyn Fn() -> bool,
    ) -> Result<Option<Tensor<B, 3>>, S::Error> {
        let image = self.img_in.forward(latents.cast(dtype));
        let mut streams = Streams {
            // The same tokens for each branch.
            image: Residual::new(concatenate(vec![image; prompts.layout.branches()], 0)),
            text: Residual::new(self.embed_text(prompts.embeds.clone(), dtype)),
        };
        for index in 0..blocks.count() {
            if cancelled() {
                return Ok(None);
            }
            let modulation = timestep.block(index);
            streams = blocks.with_block(index, |block| {
                block.forward(streams, modulation, &prompts.layout, &prompts.rotary)
            })?;
        }
        let image = streams.image.into_tensor();
        let normed = self.norm_out.forward(image, timestep.output());
        Ok(Some(self.proj_out.forward(normed).cast(FloatDType::F32)))
    }

    /// Embeddings of prompts on the residual stream, in `dtype`.
    pub fn embed_text(&self, prompt_embeds: Tensor<B, 3>, dtype: FloatDType) -> Tensor<B, 3> {
        self.txt_in
            .forward(self.txt_norm.forward(prompt_embeds).cast(dtype))
    }
}

/// A layer norm whose scale and shift come from the noise level.
#[derive(Module, Debug)]
pub struct OutputNorm<B: Backend> {
    /// To scale and shift, in this order: the opposite of a block's.
    pub linear: Linear<B>,
}

impl<B: ModelBackend> OutputNorm<B> {
    /// * `x`: float `[branches, tokens, channels]`.
    /// * `modulation`: float `[1, 1, 2 * channels]`, the linear layer's result.
    pub fn forward(&self, x: Tensor<B, 3>, modulation: Tensor<B, 3>) -> Tensor<B, 3> {
        let [scale, shift]: [Tensor<B, 3>; 2] = split(modulation);
        let shape = x.dims();
        modulated_layer_norm(of_one_branch(x), shift, scale, EPSILON).reshape(shape)
    }
}
