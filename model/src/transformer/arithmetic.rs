//! Which layers may multiply in FP8.

use backends::Arithmetic;
use burn::tensor::backend::Backend;

use super::Transformer;

impl<B: Backend> Transformer<B> {
    /// Says what FP8 weights of the blocks' large layers are multiplied with. Those that are small,
    /// or whose input has outliers that rounding to E4M3 would cost most, stay exact whatever is
    /// said: embeddings, modulations, output, all layers of the text's few tokens, and the second
    /// half of the image's feed-forward.
    pub fn set_arithmetic(&mut self, arithmetic: Arithmetic) {
        for block in &mut self.transformer_blocks {
            let attn = &mut block.attn;
            for linear in [
                &mut attn.to_q,
                &mut attn.to_k,
                &mut attn.to_v,
                &mut attn.to_out,
                &mut block.img_mlp.net_0_proj,
            ] {
                linear.weight.set_arithmetic(arithmetic);
            }
        }
    }
}
