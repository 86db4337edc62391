//! Denoising.

use super::Numerics;
use super::kernels::{Attention, F32};
use super::ledger::Ledger;
use crate::config::TransformerConfig;

/// Bytes that [`denoise`](crate::pipeline::denoise) needs at its peak beside the transformer's
/// weights, for an image of `image_tokens` and prompts of at most `text_tokens`: latents,
/// prompts, rotary tables, and a block's activations. The two passes of guidance run one after
/// the other.
pub fn transformer(
    config: &TransformerConfig,
    image_tokens: usize,
    text_tokens: usize,
    numerics: Numerics,
) -> u64 {
    let (image, text) = (image_tokens as u64, text_tokens as u64);
    let mut ledger = Ledger::default();
    ledger.hold(numerics.tiles_and_slabs(image));
    // The latents and their noise, two predictions, and their combination.
    ledger.hold(5 * F32 * image * config.in_channels as u64);
    let embeds = text * config.joint_attention_dim as u64;
    ledger.hold(2 * F32 * embeds);
    // Cosines and sines, for each prompt.
    ledger.hold(2 * F32 * (image + text) * config.attention_head_dim as u64);

    let inner = config.inner_dim() as u64;
    ledger.hold(numerics.bytes(image * inner));
    // The normalised embeddings, in f32 and in the compute dtype.
    ledger.hold(numerics.bytes(embeds));
    ledger.spike(numerics.in_f32().norm(embeds));
    ledger.spike(numerics.linear(text, config.joint_attention_dim as u64, inner));
    ledger.release(numerics.bytes(embeds));
    ledger.hold(numerics.bytes(text * inner));
    Block {
        config,
        image,
        text,
        inner,
        numerics,
    }
    .go_through(&mut ledger);
    ledger.peak()
}

/// One block, with both residual streams alive.
struct Block<'a> {
    config: &'a TransformerConfig,
    image: u64,
    text: u64,
    inner: u64,
    numerics: Numerics,
}

impl Block<'_> {
    fn go_through(&self, ledger: &mut Ledger) {
        let Self {
            image,
            text,
            inner,
            numerics,
            ..
        } = *self;
        // Both modulations.
        ledger.hold(numerics.bytes(2 * 6 * inner));
        ledger.spike(numerics.linear(1, inner, 6 * inner));

        let both = (image + text) * inner;
        ledger.spike(numerics.norm(image * inner));
        ledger.hold(numerics.bytes(both));
        self.joint_attention(ledger);
        ledger.spike(numerics.gated_add(image * inner));
        // The attended image and text.
        ledger.release(numerics.bytes(both));
        for tokens in [image, text] {
            self.feed_forward(tokens, ledger);
        }
    }

    /// With the normalised streams alive at its beginning, and its results at its end.
    fn joint_attention(&self, ledger: &mut Ledger) {
        let Self {
            image,
            text,
            inner,
            numerics,
            ..
        } = *self;
        let tokens = image + text;
        let both = numerics.bytes(tokens * inner);
        for _ in ["q", "k"] {
            ledger.hold(numerics.bytes(text * inner));
            ledger.spike(numerics.linear(image, inner, inner));
            ledger.hold(numerics.bytes(image * inner));
            ledger.spike(numerics.replace(image * inner));
            // The streams, and the joint sequence.
            ledger.hold(both);
            ledger.release(both);
        }
        ledger.hold(numerics.bytes(text * inner));
        ledger.spike(numerics.linear(image, inner, inner));
        ledger.hold(numerics.bytes(image * inner));
        // The normalised streams were needed until here; now there are q, k, v.
        ledger.release(both);
        ledger.hold(both);
        ledger.release(both);
        ledger.spike(numerics.attention(Attention {
            tokens,
            keys: tokens,
            heads: self.config.num_attention_heads as u64,
            kv_heads: self.config.num_attention_heads as u64,
            dim: self.config.attention_head_dim as u64,
            causal: false,
        }));
        ledger.release(3 * both);
        // What was attended to, and each stream's part of it, projected.
        ledger.hold(both);
        ledger.spike(numerics.bytes(image * inner) + numerics.linear(image, inner, inner));
        ledger.hold(numerics.bytes(image * inner));
        ledger.spike(numerics.bytes(text * inner) + numerics.linear(text, inner, inner));
        ledger.hold(numerics.bytes(text * inner));
        ledger.release(both);
    }

    fn feed_forward(&self, tokens: u64, ledger: &mut Ledger) {
        let Self {
            inner, numerics, ..
        } = *self;
        let outer = numerics.bytes(tokens * inner);
        let wide = numerics.bytes(tokens * 4 * inner);
        ledger.spike(numerics.norm(tokens * inner));
        ledger.hold(outer);
        ledger.spike(numerics.linear(tokens, inner, 4 * inner));
        ledger.hold(wide);
        ledger.release(outer);
        ledger.spike(numerics.replace(tokens * 4 * inner));
        ledger.spike(numerics.linear(tokens, 4 * inner, inner));
        ledger.release(wide);
        // The result waits until both streams have one.
        ledger.hold(outer);
        ledger.spike(numerics.gated_add(tokens * inner));
    }
}
