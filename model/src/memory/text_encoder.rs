//! The memory of encoding prompts.

use backends::working_memory::{AttentionShape, F32, Numerics};

use super::ledger::Ledger;
use crate::config::TextEncoderConfig;

/// See [`Numerics::pooled`].
const POOLED_PERCENT: u64 = 130;

/// Bytes that [`encode_prompts`](crate::pipeline::encode_prompts) needs at its peak beside the text
/// encoder's weights, for so many `prompts` in one pass, of up to `tokens` tokens each, template
/// included, while the embeddings of one more prompt are alive.
pub fn text_encoder(
    config: &TextEncoderConfig,
    prompts: usize,
    tokens: usize,
    numerics: Numerics,
) -> u64 {
    let tokens = tokens as u64;
    let waiting = (prompts as u64).saturating_sub(1);
    let hidden = config.hidden_size as u64;
    let inner = config.intermediate_size as u64;
    let dim = config.head_dim as u64;
    let heads = config.num_attention_heads as u64;
    let kv_heads = config.num_key_value_heads as u64;

    let mut ledger = Ledger::default();
    ledger.hold(numerics.kept_between_layers(tokens));
    // The other prompt's embeddings.
    ledger.hold(F32 * tokens * hidden);
    // The hidden states of the prompts whose turn it is not, which become embeddings in f32, and
    // their cosines and sines.
    ledger.hold(waiting * F32 * tokens * (hidden + dim));
    // Cosines and sines.
    ledger.hold(F32 * tokens * dim);
    // The codes, as bytes and as integers, and their values before and after the scale.
    ledger.spike((1 + 3 * F32) * tokens * hidden);

    let residual = numerics.bytes(tokens * hidden);
    ledger.hold(residual);
    ledger.spike(numerics.norm(tokens * hidden));
    ledger.hold(residual);
    let (q, k) = (heads * dim, kv_heads * dim);
    for width in [q, k, k] {
        ledger.spike(numerics.linear(tokens, hidden, width));
        ledger.hold(numerics.bytes(tokens * width));
        ledger.spike(numerics.in_place(tokens * width));
    }
    // The normalised input.
    ledger.release(residual);
    ledger.spike(numerics.attention(AttentionShape {
        tokens,
        keys: tokens,
        heads,
        kv_heads,
        dim,
        causal: true,
    }));
    ledger.release(numerics.bytes(tokens * (q + 2 * k)));
    ledger.hold(numerics.bytes(tokens * q));
    ledger.spike(numerics.linear(tokens, q, hidden));
    ledger.release(numerics.bytes(tokens * q));
    ledger.hold(residual);
    // The sum may be a tensor of its own.
    ledger.spike(residual);
    ledger.release(residual);

    ledger.spike(numerics.norm(tokens * hidden));
    ledger.hold(residual);
    let wide = numerics.bytes(tokens * inner);
    ledger.spike(numerics.linear(tokens, hidden, inner));
    ledger.hold(wide);
    ledger.spike(numerics.linear(tokens, hidden, inner));
    ledger.hold(wide);
    ledger.release(residual);
    ledger.spike(numerics.silu_mul(tokens * inner));
    ledger.release(wide);
    ledger.spike(numerics.linear(tokens, inner, hidden));
    numerics.pooled(ledger.peak(), POOLED_PERCENT)
}
