//! The stack of blocks from latents to pixels.

use backends::ModelBackend;
use burn::module::Module;
use burn::tensor::Tensor;
use burn::tensor::backend::Backend;

use super::attention::AttentionBlock;
use super::conv::Conv;
use super::norm::ChannelNorm;
use super::resnet::ResidualBlock;
use super::upsample::Upsample;
use crate::builder::Builder;
use crate::config::VaeConfig;

/// From latent channels to RGB at eight times the resolution.
#[derive(Module, Debug)]
pub struct Decoder<B: Backend> {
    /// From the latent channels.
    pub conv_in: Conv<B>,
    /// The blocks at the smallest resolution.
    pub mid_block: MidBlock<B>,
    /// The blocks on the way up.
    pub up_blocks: Vec<UpBlock<B>>,
    /// The norm before the last convolution.
    pub norm_out: ChannelNorm<B>,
    /// To RGB.
    pub conv_out: Conv<B>,
}

impl<B: Backend> Decoder<B> {
    /// A decoder whose parameters wait for a loader.
    pub fn uninitialized(config: &VaeConfig, root: &Builder<B>) -> Self {
        let widths = config.decoder_widths();
        let blocks = config.dim_mult.len();
        Self {
            conv_in: Conv::spatial(config.z_dim, widths[0], root),
            mid_block: MidBlock {
                resnets: (0..2)
                    .map(|_| ResidualBlock::uninitialized(widths[0], widths[0], root))
                    .collect(),
                attentions: vec![AttentionBlock::uninitialized(widths[0], root)],
            },
            up_blocks: (0..blocks)
                .map(|i| {
                    // The upsampler of the block before has halved the channels.
                    let input = if i == 0 { widths[0] } else { widths[i] / 2 };
                    let output = widths[i + 1];
                    UpBlock {
                        resnets: (0..=config.num_res_blocks)
                            .map(|r| {
                                let input = if r == 0 { input } else { output };
                                ResidualBlock::uninitialized(input, output, root)
                            })
                            .collect(),
                        upsamplers: (i + 1 < blocks)
                            .then(|| Upsample::uninitialized(output, root))
                            .into_iter()
                            .collect(),
                    }
                })
                .collect(),
            norm_out: ChannelNorm::uninitialized(widths[blocks], root),
            conv_out: Conv::spatial(widths[blocks], 3, root),
        }
    }
}

impl<B: ModelBackend> Decoder<B> {
    /// f32 `[batch, z_dim, h, w]` to `[batch, 3, 8h, 8w]`; `None` once `cancelled` says so.
    pub fn forward(&self, x: Tensor<B, 4>, cancelled: &dyn Fn() -> bool) -> Option<Tensor<B, 4>> {
        let mut x = self.mid_block.forward(self.conv_in.forward(x));
        for block in &self.up_blocks {
            if cancelled() {
                return None;
            }
            x = block.forward(x);
        }
        Some(self.conv_out.forward(self.norm_out.forward_silu(x)))
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
