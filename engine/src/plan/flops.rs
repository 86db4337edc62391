//! How much a pass through the transformer computes.

use model::TransformerConfig;

/// Elements of a block's matrices for one stream, in squares of its channels: query, key, value and
/// output, and the two layers of the feed-forward.
const MATRICES: f64 = 4.0 + 8.0;

/// Counts the operations of a pass through the transformer's blocks, a multiplication and an
/// addition for each element of a matrix and each token, for an image of `image_tokens` beside each
/// of the texts. What else is computed is little beside the blocks.
pub fn pass_flops(config: &TransformerConfig, image_tokens: usize, text_lengths: &[usize]) -> f64 {
    let channels = (config.attention_head_dim * config.num_attention_heads) as f64;
    let branch = |text: &usize| {
        let tokens = (image_tokens + text) as f64;
        let products = MATRICES * channels * channels * tokens;
        // Queries with keys, and weights with values.
        let attention = 2.0 * tokens * tokens * channels;
        2.0 * config.num_layers as f64 * (products + attention)
    };
    text_lengths.iter().map(branch).sum()
}

#[cfg(test)]
mod tests {
    use model::TransformerConfig;

    use super::pass_flops;

    #[test]
    fn a_guided_pass_of_the_published_model_takes_138_teraflop() {
        let flops = pass_flops(&TransformerConfig::published(), 4096, &[64, 20]);
        assert!((136e12..141e12).contains(&flops), "{flops:e}");
    }
}
