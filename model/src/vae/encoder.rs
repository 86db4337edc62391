//! The stack of blocks from pixels to the moments of latents.

use backends::ModelBackend;
use burn::module::Module;
use burn::tensor::Tensor;
use burn::tensor::backend::Backend;

use super::conv::Conv;
use super::decoder::MidBlock;
use super::downsample::Downsample;
use super::ladder::Ladder;
use super::norm::ChannelNorm;
use super::resnet::ResidualBlock;
use super::stages::{Stage, Step, StepKind};
use super::tiling::Tiling;
use crate::builder::Builder;
use crate::config::VaeConfig;

/// The encoder proper: RGB to twice the latent channels at an eighth of the resolution.
#[derive(Module, Debug)]
pub struct Encoder<B: Backend> {
    /// The convolution of the RGB image.
    pub conv_in: Conv<B>,
    /// The blocks on the way down, all resolutions in one list.
    pub down_blocks: Vec<DownBlock<B>>,
    /// The blocks at the smallest resolution.
    pub mid_block: MidBlock<B>,
    /// The norm before the last convolution.
    pub norm_out: ChannelNorm<B>,
    /// The convolution to means and log variances.
    pub conv_out: Conv<B>,
}

/// A block on the way down. Checkpoints number both kinds through.
#[allow(
    clippy::large_enum_variant,
    reason = "there are a dozen of them, and their tensors lie elsewhere"
)]
#[derive(Module, Debug)]
pub enum DownBlock<B: Backend> {
    /// Keeps the resolution.
    Residual(ResidualBlock<B>),
    /// Ends a resolution.
    Downsample(Downsample<B>),
}

impl<B: Backend> DownBlock<B> {
    fn step(&self) -> Step {
        match self {
            Self::Residual(block) => block.step(),
            Self::Downsample(block) => block.step(),
        }
    }

    fn ends_stage(&self) -> bool {
        matches!(self, Self::Downsample(_))
    }
}

impl<B: ModelBackend> DownBlock<B> {
    /// f32 `[batch, in, height, width]` to `[batch, out, ..]`, at the same resolution or half of
    /// it.
    pub fn forward(&self, x: Tensor<B, 4>) -> Tensor<B, 4> {
        match self {
            Self::Residual(block) => block.forward(x),
            Self::Downsample(block) => block.forward(x),
        }
    }
}

impl<B: Backend> Encoder<B> {
    /// An encoder whose parameters wait for a loader.
    pub fn uninitialized(config: &VaeConfig, at: &Builder<B>) -> Self {
        let widths = config.encoder_widths();
        let last = widths.len() - 1;
        let deepest = widths[last];
        // All stages but the last end with a downsampler.
        let blocks = config.num_res_blocks + 1;
        let down_block = |at: &Builder<B>, index: usize| {
            let (stage, r) = (index / blocks, index % blocks);
            let (before, output) = (widths[stage], widths[stage + 1]);
            if r == config.num_res_blocks {
                return DownBlock::Downsample(Downsample::uninitialized(output, at));
            }
            let input = if r == 0 { before } else { output };
            DownBlock::Residual(ResidualBlock::uninitialized(input, output, at))
        };
        Self {
            conv_in: Conv::spatial(3, widths[0], &at.at("conv_in")),
            down_blocks: at.list("down_blocks", (last * blocks).saturating_sub(1), down_block),
            mid_block: MidBlock::uninitialized(deepest, &at.at("mid_block")),
            norm_out: ChannelNorm::uninitialized(deepest, &at.at("norm_out")),
            conv_out: Conv::spatial(deepest, 2 * config.z_dim, &at.at("conv_out")),
        }
    }

    /// The blocks of each resolution.
    fn blocks(&self) -> Vec<&[DownBlock<B>]> {
        let blocks = self.down_blocks.split_inclusive(DownBlock::ends_stage);
        blocks.collect()
    }

    /// The shapes of the modules before the mid block, from which tiles are planned.
    pub(crate) fn stages(&self) -> Vec<Stage> {
        let [output, input] = self.conv_in.channels();
        let entry = Step {
            kind: StepKind::Input,
            input,
            output,
            margin: self.conv_in.margin(),
        };
        let blocks = self.blocks().into_iter().enumerate();
        blocks
            .map(|(i, blocks)| {
                let entry = (i == 0).then_some(entry).into_iter();
                Stage(entry.chain(blocks.iter().map(DownBlock::step)).collect())
            })
            .collect()
    }
}

impl<B: ModelBackend> Encoder<B> {
    /// f32 `[batch, 3, 8h, 8w]` to `[batch, 2 * z_dim, h, w]`; `None` once `cancelled` says so,
    /// which is asked before each whole stage, each tile and the mid block.
    pub fn forward(
        &self,
        pixels: Tensor<B, 4>,
        tiling: Tiling,
        cancelled: &dyn Fn() -> bool,
    ) -> Option<Tensor<B, 4>> {
        let [_, _, height, width] = pixels.dims();
        let ladder = Ladder::down(self.stages());
        let plan = tiling.plan(&ladder, [height, width]);
        let blocks = self.blocks();
        let stage = |index: usize, x| self.stage(index, blocks[index], x);
        let x = ladder.run(pixels, plan.as_ref(), &stage, cancelled)?;
        if cancelled() {
            return None;
        }
        let x = self.mid_block.forward(x);
        Some(self.conv_out.forward(self.norm_out.forward_silu(x)))
    }

    /// Runs one stage: at the first the image's convolution, its residual blocks, and the
    /// downsampler out of its resolution. Memory that they worked in is freed, since the maps of
    /// the next stage, and of the next tile, are of another size.
    fn stage(&self, index: usize, blocks: &[DownBlock<B>], mut x: Tensor<B, 4>) -> Tensor<B, 4> {
        if index == 0 {
            x = self.conv_in.forward(x);
        }
        for block in blocks {
            x = block.forward(x);
        }
        B::memory_cleanup(&x.device());
        x
    }
}
