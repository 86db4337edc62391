//! Which layers may multiply in FP8.

use backends::{Arithmetic, ModelBackend};

use super::Transformer;

impl<B: ModelBackend> Transformer<B> {
    /// Says what the blocks' FP8 weights are multiplied with, and what attention is computed in: of a
    /// loaded transformer, since biases are converted.
    /// Layers that are small, or whose input has outliers that rounding to E4M3 would cost most,
    /// stay exact whatever is said: embeddings, modulations, output, and the second half of the
    /// image's feed-forward.
    pub fn set_arithmetic(&mut self, arithmetic: Arithmetic) {
        for block in &mut self.transformer_blocks {
            let attn = &mut block.attn;
            attn.arithmetic = arithmetic;
            for linear in [
                &mut attn.to_q,
                &mut attn.to_k,
                &mut attn.to_v,
                &mut attn.add_q_proj,
                &mut attn.add_k_proj,
                &mut attn.add_v_proj,
                &mut attn.to_out,
                &mut attn.to_add_out,
                &mut block.img_mlp.net_0_proj,
                &mut block.txt_mlp.net_0_proj,
                &mut block.txt_mlp.net_2,
            ] {
                linear.set_arithmetic(arithmetic);
            }
        }
    }
}
