//! The stack of blocks from latents to pixels.

use backends::ModelBackend;
use burn::module::Module;
use burn::tensor::Tensor;
use burn::tensor::backend::Backend;

use super::attention::AttentionBlock;
use super::conv::Conv;
use super::ladder::Ladder;
use super::norm::ChannelNorm;
use super::resnet::ResidualBlock;
use super::stages::{Stage, Step, StepKind};
use super::tiling::Tiling;
use super::upsample::Upsample;
use crate::builder::Builder;
use crate::config::VaeConfig;

/// The decoder proper: latent channels to RGB at eight times the resolution.
#[derive(Module, Debug)]
pub struct Decoder<B: Backend> {
    /// The convolution of the latent channels.
    pub conv_in: Conv<B>,
    /// The blocks at the smallest resolution.
    pub mid_block: MidBlock<B>,
    /// The blocks on the way up.
    pub up_blocks: Vec<UpBlock<B>>,
    /// The norm before the last convolution.
    pub norm_out: ChannelNorm<B>,
    /// The convolution to RGB.
    pub conv_out: Conv<B>,
}

impl<B: Backend> Decoder<B> {
    /// A decoder whose parameters wait for a loader.
    pub fn uninitialized(config: &VaeConfig, at: &Builder<B>) -> Self {
        let widths = config.decoder_widths();
        let blocks = config.dim_mult.len();
        Self {
            conv_in: Conv::spatial(config.z_dim, widths[0], &at.at("conv_in")),
            mid_block: MidBlock::uninitialized(widths[0], &at.at("mid_block")),
            up_blocks: at.list("up_blocks", blocks, |at, i| {
                // The upsampler of the block before has halved the channels.
                let input = if i == 0 { widths[0] } else { widths[i] / 2 };
                let output = widths[i + 1];
                UpBlock {
                    resnets: at.list("resnets", config.num_res_blocks + 1, |at, r| {
                        let input = if r == 0 { input } else { output };
                        ResidualBlock::uninitialized(input, output, at)
                    }),
                    upsamplers: at.list("upsamplers", usize::from(i + 1 < blocks), |at, _| {
                        Upsample::uninitialized(output, at)
                    }),
                }
            }),
            norm_out: ChannelNorm::uninitialized(widths[blocks], &at.at("norm_out")),
            conv_out: Conv::spatial(widths[blocks], 3, &at.at("conv_out")),
        }
    }
}

impl<B: Backend> Decoder<B> {
    /// The shapes of the modules after the mid block, from which tiles are planned.
    pub(crate) fn stages(&self) -> Vec<Stage> {
        let last = self.up_blocks.len().saturating_sub(1);
        (0..self.up_blocks.len())
            .map(|i| {
                let upsamplers = self.upsamplers_into(i).iter().map(Upsample::step);
                let resnets = self.up_blocks[i].resnets.iter().map(ResidualBlock::step);
                let head = (i == last).then(|| {
                    let [output, input] = self.conv_out.channels();
                    Step {
                        kind: StepKind::Output,
                        input,
                        output,
                        margin: self.conv_out.margin(),
                    }
                });
                Stage(upsamplers.chain(resnets).chain(head).collect())
            })
            .collect()
    }

    /// The upsampler at the end of the block before, which is the first step of a stage.
    fn upsamplers_into(&self, stage: usize) -> &[Upsample<B>] {
        match stage.checked_sub(1) {
            Some(before) => &self.up_blocks[before].upsamplers,
            None => &[],
        }
    }
}

impl<B: ModelBackend> Decoder<B> {
    /// f32 `[batch, z_dim, h, w]` to `[batch, 3, 8h, 8w]`; `None` once `cancelled` says so,
    /// which is asked before each whole stage and each tile.
    pub fn forward(
        &self,
        x: Tensor<B, 4>,
        tiling: Tiling,
        cancelled: &dyn Fn() -> bool,
    ) -> Option<Tensor<B, 4>> {
        let [_, _, height, width] = x.dims();
        let ladder = Ladder::up(self.stages());
        let plan = tiling.plan(&ladder, [height, width]);
        let x = self.mid_block.forward(self.conv_in.forward(x));
        ladder.run(
            x,
            plan.as_ref(),
            &|index, x| self.stage(index, x),
            cancelled,
        )
    }

    /// Runs one stage: the upsampler into its resolution, its residual blocks, and at the end of
    /// the last the norm and convolution of the output. Memory that they worked in is freed, since
    /// the maps of the next stage, and of the next tile, are of another size.
    fn stage(&self, index: usize, mut x: Tensor<B, 4>) -> Tensor<B, 4> {
        for upsampler in self.upsamplers_into(index) {
            x = upsampler.forward(x);
        }
        for resnet in &self.up_blocks[index].resnets {
            x = resnet.forward(x);
        }
        if index + 1 == self.up_blocks.len() {
            x = self.conv_out.forward(self.norm_out.forward_silu(x));
        }
        B::memory_cleanup(&x.device());
        x
    }
}

/// Residual blocks around attention.
#[derive(Module, Debug)]
pub struct MidBlock<B: Backend> {
    /// One before each attention block, and one after the last.
    pub resnets: Vec<ResidualBlock<B>>,
    /// Attention between them.
    pub attentions: Vec<AttentionBlock<B>>,
}

impl<B: Backend> MidBlock<B> {
    /// Two residual blocks around attention, whose parameters wait for a loader.
    pub fn uninitialized(channels: usize, at: &Builder<B>) -> Self {
        Self {
            resnets: at.list("resnets", 2, |at, _| {
                ResidualBlock::uninitialized(channels, channels, at)
            }),
            attentions: at.list("attentions", 1, |at, _| {
                AttentionBlock::uninitialized(channels, at)
            }),
        }
    }
}

impl<B: ModelBackend> MidBlock<B> {
    /// f32 `[batch, channels, height, width]` to the same.
    pub fn forward(&self, mut x: Tensor<B, 4>) -> Tensor<B, 4> {
        let mut attentions = self.attentions.iter();
        for resnet in &self.resnets {
            x = resnet.forward(x);
            if let Some(attention) = attentions.next() {
                x = attention.forward(x);
            }
        }
        x
    }
}

/// Residual blocks of one resolution, then an upsampler, but for the last.
#[derive(Module, Debug)]
pub struct UpBlock<B: Backend> {
    /// The residual blocks.
    pub resnets: Vec<ResidualBlock<B>>,
    /// The upsampler, or none.
    pub upsamplers: Vec<Upsample<B>>,
}

impl<B: ModelBackend> UpBlock<B> {
    /// f32 `[batch, in, height, width]` to the next resolution.
    pub fn forward(&self, mut x: Tensor<B, 4>) -> Tensor<B, 4> {
        for resnet in &self.resnets {
            x = resnet.forward(x);
        }
        for upsampler in &self.upsamplers {
            x = upsampler.forward(x);
        }
        x
    }
}
