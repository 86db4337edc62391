//! What guides a pass beside the noise level.

use backends::Kernels;
use backends::fused::concatenate;
use burn::tensor::Tensor;
use burn::tensor::backend::Backend;

use super::rope::{JointRotary, RopeCentring};
use super::streams::JointLayout;
use crate::latents::TokenGrid;

/// A prompt for each branch of a pass, and where all tokens are. It is the same at every step.
#[derive(Clone, Debug)]
pub struct Prompts<B: Backend> {
    /// f32 `[1, text tokens of all prompts, joint_attention_dim]`, prompt after prompt.
    pub embeds: Tensor<B, 3>,
    /// Which of the text tokens are whose.
    pub layout: JointLayout,
    /// The angles of all tokens.
    pub rotary: JointRotary<B>,
}

impl<B: Kernels> Prompts<B> {
    /// * `embeds`: f32 `[1, tokens, joint_attention_dim]` of each branch, each of its own length;
    ///   at least one.
    /// * `grid`: the size of the image in tokens.
    /// * `centring`: where its middle lies.
    /// * `axes`: how many elements of a head's vector each rotary axis turns.
    pub(super) fn new(
        embeds: Vec<Tensor<B, 3>>,
        grid: TokenGrid,
        centring: RopeCentring,
        axes: [usize; 3],
    ) -> Self {
        let layout = JointLayout {
            text_lengths: embeds.iter().map(|embeds| embeds.dims()[1]).collect(),
        };
        let embeds = concatenate(embeds, 1);
        let rotary = JointRotary::new(grid, &layout, axes, centring, &embeds.device());
        Self {
            embeds,
            layout,
            rotary,
        }
    }
}
