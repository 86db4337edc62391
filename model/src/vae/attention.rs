//! Self-attention over the pixels of the smallest resolution.

use backends::ModelBackend;
use backends::fused::attention;
use burn::module::Module;
use burn::tensor::Tensor;
use burn::tensor::backend::Backend;

use super::conv::Conv;
use super::norm::ChannelNorm;
use crate::builder::Builder;

/// Attention of one head over all pixels, beside a short cut.
#[derive(Module, Debug)]
pub struct AttentionBlock<B: Backend> {
    /// The norm of the input.
    pub norm: ChannelNorm<B>,
    /// The projection to queries, keys and values, one after the other.
    pub to_qkv: Conv<B>,
    /// The projection back to the block's channels.
    pub proj: Conv<B>,
}

impl<B: Backend> AttentionBlock<B> {
    /// A block whose parameters wait for a loader.
    pub fn uninitialized(channels: usize, at: &Builder<B>) -> Self {
        Self {
            norm: ChannelNorm::uninitialized(channels, &at.at("norm")),
            to_qkv: Conv::pointwise(channels, 3 * channels, &at.at("to_qkv")),
            proj: Conv::pointwise(channels, channels, &at.at("proj")),
        }
    }
}

impl<B: ModelBackend> AttentionBlock<B> {
    /// f32 `[batch, channels, height, width]` to the same.
    pub fn forward(&self, x: Tensor<B, 4>) -> Tensor<B, 4> {
        let [batch, channels, height, width] = x.dims();
        let qkv = self.to_qkv.forward(self.norm.forward(x.clone()));
        let qkv = qkv
            .reshape([batch, 3 * channels, height * width])
            .swap_dims(1, 2);
        let [q, k, v] = [0, 1, 2].map(|i| {
            qkv.clone().narrow(2, i * channels, channels).reshape([
                batch,
                height * width,
                1,
                channels,
            ])
        });
        let attended = attention(q, k, v, false)
            .reshape([batch, height * width, channels])
            .swap_dims(1, 2)
            .reshape([batch, channels, height, width]);
        x + self.proj.forward(attended)
    }
}
