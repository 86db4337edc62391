//! What noise levels do to the whole transformer.

use backends::ModelBackend;
use backends::working_memory::FEW_ROWS;
use burn::tensor::backend::Backend;
use burn::tensor::{FloatDType, Tensor, activation};

use super::Transformer;
use super::streams::Streams;

/// How the blocks and the output are modulated at some noise levels. A third of all weights is read to
/// find it, for one level as for several.
#[derive(Clone, Debug)]
pub struct Levels<B: Backend> {
    timesteps: Vec<f32>,
    /// Of each block, float `[1, levels, 6 * channels]`.
    blocks: Vec<Streams<Tensor<B, 3>>>,
    /// Float `[1, levels, 2 * channels]`.
    output: Tensor<B, 3>,
}

/// How many levels are computed together: as many rows as go through a layer in little more than
/// the time of one.
pub const LEVELS_AT_ONCE: usize = FEW_ROWS;

impl<B: Backend> Levels<B> {
    /// One of them, by what the transformer is told of it.
    pub fn find(&self, timestep: f32) -> Option<Level<'_, B>> {
        let index = self.timesteps.iter().position(|&known| known == timestep)?;
        Some(Level {
            levels: self,
            index,
        })
    }
}

/// A noise level.
#[derive(Clone, Copy, Debug)]
pub struct Level<'a, B: Backend> {
    levels: &'a Levels<B>,
    index: usize,
}

impl<B: Backend> Level<'_, B> {
    /// Of a block, float `[1, 1, 6 * channels]`.
    pub(super) fn block(&self, index: usize) -> Streams<Tensor<B, 3>> {
        let Streams { image, text } = self.levels.blocks[index].clone();
        Streams {
            image: image.narrow(1, self.index, 1),
            text: text.narrow(1, self.index, 1),
        }
    }

    /// Of the output, float `[1, 1, 2 * channels]`.
    pub(super) fn output(&self) -> Tensor<B, 3> {
        self.levels.output.clone().narrow(1, self.index, 1)
    }
}

impl<B: ModelBackend> Transformer<B> {
    /// The noise levels of `timesteps`, each from 0 to 1; there must be at least one.
    ///
    /// * `dtype`: what the blocks compute in.
    ///
    /// `cancelled` is asked before each block; once it says so, there is no result.
    pub fn levels(
        &self,
        timesteps: &[f32],
        dtype: FloatDType,
        device: &B::Device,
        cancelled: &dyn Fn() -> bool,
    ) -> Option<Levels<B>> {
        let temb = self.time_text_embed.forward(timesteps, device);
        // Every modulation starts with this activation of the same vectors.
        let temb = activation::silu(temb).cast(dtype);
        let blocks = self.transformer_blocks.iter();
        let blocks = blocks.map(|block| (!cancelled()).then(|| block.modulation(temb.clone())));
        Some(Levels {
            timesteps: timesteps.to_vec(),
            blocks: blocks.collect::<Option<_>>()?,
            output: self.norm_out.linear.forward(temb),
        })
    }
}
