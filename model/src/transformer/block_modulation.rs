//! The layers that modulate one block, which see the timestep and nothing else.

use backends::ModelBackend;
use burn::module::Module;
use burn::tensor::Tensor;
use burn::tensor::backend::Backend;

use super::streams::Streams;
use crate::builder::Builder;
use crate::config::TransformerConfig;
use crate::linear::Linear;

/// The layers that turn a timestep's vector into the modulations of a block. They are a third of
/// all weights and no part of the block, which is lent without them.
#[derive(Module, Debug)]
pub struct BlockModulation<B: Backend> {
    /// Modulation of the image stream (`img_mod.1` in checkpoints).
    pub img_mod: Linear<B>,
    /// Modulation of the text stream (`txt_mod.1` in checkpoints).
    pub txt_mod: Linear<B>,
}

impl<B: Backend> BlockModulation<B> {
    /// Layers whose parameters wait for a loader; `at` is the block's place.
    pub fn uninitialized(config: &TransformerConfig, at: &Builder<B>) -> Self {
        let inner = config.inner_dim();
        Self {
            img_mod: at.linear("img_mod.1", inner, 6 * inner, true),
            txt_mod: at.linear("txt_mod.1", inner, 6 * inner, true),
        }
    }
}

impl<B: ModelBackend> BlockModulation<B> {
    /// Turns `temb`, float `[1, timesteps, channels]` after SiLU, into float
    /// `[1, timesteps, 6 * channels]` for each stream.
    pub fn forward(&self, temb: Tensor<B, 3>) -> Streams<Tensor<B, 3>> {
        Streams {
            image: self.img_mod.forward(temb.clone()),
            text: self.txt_mod.forward(temb),
        }
    }
}
