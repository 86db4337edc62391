//! Which layers may multiply in FP8.

use backends::{Arithmetic, ModelBackend};

use super::{Transformer, TransformerBlock};

impl<B: ModelBackend> Transformer<B> {
    /// Sets how the FP8 weights of all blocks are multiplied; see
    /// [`TransformerBlock::set_arithmetic`].
    pub fn set_arithmetic(&mut self, arithmetic: Arithmetic) {
        for block in &mut self.transformer_blocks {
            block.set_arithmetic(arithmetic);
        }
    }
}

impl<B: ModelBackend> TransformerBlock<B> {
    /// Sets how the block's FP8 weights are multiplied and in what attention is computed. The
    /// parameters must be loaded, since biases are converted.
    ///
    /// The second half of the image's feed-forward stays exact in either case: its input has
    /// outliers, on which quantizing to E4M3 errs most. Outside the blocks, the modulations, the
    /// embeddings and the output stay exact too.
    pub fn set_arithmetic(&mut self, arithmetic: Arithmetic) {
        let attn = &mut self.attn;
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
            &mut self.img_mlp.net_0_proj,
            &mut self.txt_mlp.net_0_proj,
            &mut self.txt_mlp.net_2,
        ] {
            linear.set_arithmetic(arithmetic);
        }
    }
}
