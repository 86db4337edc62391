//! The memory of denoising.

use backends::working_memory::{AttentionShape, F32, Numerics};

use super::ledger::Ledger;
use crate::config::TransformerConfig;
use crate::transformer::{TIMESTEPS_AT_ONCE, table_rows};

/// See [`Numerics::pooled`].
const POOLED_PERCENT: u64 = 170;

/// The sizes that decide how much memory denoising takes.
#[derive(Clone, Copy, Debug)]
pub struct DenoisingSizes<'a> {
    /// Tokens of the image.
    pub image_tokens: usize,
    /// Tokens of each prompt: of one, or of two with guidance.
    pub text_lengths: &'a [usize],
    /// Timesteps in the table of modulations.
    pub timesteps: usize,
    /// The largest rank of LoRA adapters beside a linear layer; 0 without any.
    pub rank: usize,
}

/// Bytes that [`modulations`](crate::pipeline::modulations) needs at its peak beside the weights
/// that are lent, for a table of `timesteps` and LoRA adapters of at most `rank`. The table itself is
/// among them.
pub fn modulations(
    config: &TransformerConfig,
    timesteps: usize,
    rank: usize,
    numerics: Numerics,
) -> u64 {
    let inner = config.inner_dim() as u64;
    let rows = TIMESTEPS_AT_ONCE as u64;
    let mut ledger = Ledger::default();
    ledger.hold(numerics.kept_between_layers(rows));
    // The vectors of all timesteps, of which those in f32 are alive group by group.
    let groups = timesteps.div_ceil(TIMESTEPS_AT_ONCE) as u64;
    ledger.hold(numerics.bytes(groups * rows * inner));
    ledger.spike(numerics.in_f32().linear(rows, inner, inner));
    ledger.spike(numerics.adapted_linear(rows, inner, 6 * inner, rank as u64));
    numerics.pooled(ledger.peak(), POOLED_PERCENT) + modulation_table(config, timesteps, numerics)
}

/// Bytes of a table of modulations of so many timesteps.
pub fn modulation_table(config: &TransformerConfig, timesteps: usize, numerics: Numerics) -> u64 {
    let rows = table_rows(timesteps) as u64;
    numerics.bytes(rows * config.modulation_elements() as u64)
}

/// Bytes that [`denoise`](crate::pipeline::denoise) needs at its peak beside the transformer's
/// weights: the table of modulations, latents, prompts, rotary tables, and a block's activations.
/// All prompts go through a block together.
pub fn transformer(
    config: &TransformerConfig,
    sizes: DenoisingSizes<'_>,
    numerics: Numerics,
) -> u64 {
    let DenoisingSizes {
        image_tokens,
        text_lengths,
        timesteps,
        rank,
    } = sizes;
    let lengths: Vec<u64> = text_lengths.iter().map(|&length| length as u64).collect();
    let branches = lengths.len() as u64;
    let (branch_image, text) = (image_tokens as u64, lengths.iter().sum::<u64>());
    let image = branches * branch_image;
    let mut ledger = Ledger::default();
    ledger.hold(numerics.kept_between_layers(image.max(text)));
    let inner = config.inner_dim() as u64;
    // The latents and their noise, and up to three tensors that a sampler remembers; the
    // predictions, together and each by itself, and their combination.
    let features = branch_image * config.in_channels as u64;
    ledger.hold((6 + 2 * branches) * F32 * features);
    // The prompts' embeddings, each by itself and all together.
    let embeds = text * config.joint_attention_dim as u64;
    ledger.hold(2 * F32 * embeds);
    // Cosines and sines.
    ledger.hold(F32 * (branch_image + text) * config.attention_head_dim as u64);

    ledger.hold(numerics.bytes(image * inner));
    ledger.spike(numerics.bytes(branch_image * inner));
    // The normalised embeddings, in f32 and in the compute dtype.
    ledger.hold(numerics.bytes(embeds));
    ledger.spike(numerics.in_f32().norm(embeds));
    let rank = rank as u64;
    ledger.spike(numerics.adapted_linear(text, config.joint_attention_dim as u64, inner, rank));
    ledger.release(numerics.bytes(embeds));
    ledger.hold(numerics.bytes(text * inner));
    Block {
        config,
        image,
        text,
        text_lengths: &lengths,
        inner,
        rank,
        numerics,
    }
    .go_through(&mut ledger);
    // The table, and the memory of a text layer that is computed on the side stream: once each,
    // whatever the pools do.
    numerics.pooled(ledger.peak(), POOLED_PERCENT)
        + modulation_table(config, timesteps, numerics)
        + numerics.side_stream(4 * inner * inner)
}

/// One block. Both residual streams of all branches are alive, and the update that the block before
/// adds to them.
struct Block<'a> {
    config: &'a TransformerConfig,
    /// Image tokens of all branches.
    image: u64,
    /// Text tokens of all branches.
    text: u64,
    /// Text tokens of each branch.
    text_lengths: &'a [u64],
    inner: u64,
    /// The adapters' rank; 0 without any.
    rank: u64,
    numerics: Numerics,
}

impl Block<'_> {
    /// A linear layer with its adapters.
    fn linear(&self, rows: u64, input: u64, output: u64) -> u64 {
        self.numerics.adapted_linear(rows, input, output, self.rank)
    }

    /// A linear layer with its adapters and an activation of its result.
    fn activated_linear(&self, rows: u64, input: u64, output: u64) -> u64 {
        let numerics = self.numerics;
        if self.rank == 0 {
            return numerics.activated_linear(rows, input, output);
        }
        let result = rows * output;
        let activation = numerics.bytes(result) + numerics.in_place(result);
        self.linear(rows, input, output).max(activation)
    }

    fn go_through(&self, ledger: &mut Ledger) {
        let Self {
            image,
            text,
            inner,
            numerics,
            ..
        } = *self;
        // The update from the block before, until a norm takes its place.
        ledger.hold(numerics.bytes((image + text) * inner));
        ledger.spike(numerics.gated_add_norm(image * inner));
        self.joint_attention(ledger);
        self.feed_forwards(ledger);
    }

    /// The normalised streams are alive at its beginning, and its results at its end.
    fn joint_attention(&self, ledger: &mut Ledger) {
        let Self {
            image,
            text,
            inner,
            numerics,
            ..
        } = *self;
        let both = numerics.bytes((image + text) * inner);
        for _ in ["q", "k", "v"] {
            ledger.spike(self.linear(image, inner, inner));
            ledger.hold(numerics.bytes(image * inner));
            ledger.spike(self.linear(text, inner, inner));
            ledger.hold(numerics.bytes(text * inner));
        }
        // The normalised streams were needed until here; now there are q, k, v.
        ledger.release(both);
        for _ in ["q", "k"] {
            ledger.spike(numerics.in_place(image * inner));
            ledger.spike(numerics.in_place(text * inner));
            self.join(ledger);
        }
        self.join(ledger);
        for &length in self.text_lengths {
            self.branch_attention(length, ledger);
        }
        // The result of attention becomes streams again, and those are projected. With one branch
        // they are views, which the projections copy.
        self.join(ledger);
        ledger.spike(numerics.bytes(image * inner) + self.linear(image, inner, inner));
        ledger.hold(numerics.bytes(image * inner));
        ledger.spike(numerics.bytes(text * inner) + self.linear(text, inner, inner));
        ledger.hold(numerics.bytes(text * inner));
        ledger.release(both);
    }

    /// The streams give way to joint sequences, or the other way round.
    fn join(&self, ledger: &mut Ledger) {
        let both = self.numerics.bytes((self.image + self.text) * self.inner);
        ledger.hold(both);
        // The copy of one branch's tokens.
        ledger.spike(both / self.text_lengths.len() as u64);
        ledger.release(both);
    }

    /// One branch, whose queries, keys and values give way to the result of attention.
    fn branch_attention(&self, text: u64, ledger: &mut Ledger) {
        let Self {
            config, numerics, ..
        } = *self;
        let tokens = self.image / self.text_lengths.len() as u64 + text;
        ledger.spike(numerics.attention(AttentionShape {
            tokens,
            keys: tokens,
            heads: config.num_attention_heads as u64,
            kv_heads: config.num_attention_heads as u64,
            dim: config.attention_head_dim as u64,
            causal: false,
        }));
        ledger.release(2 * numerics.bytes(tokens * self.inner));
    }

    /// The results of attention are alive at their beginning, and their own results at their end.
    fn feed_forwards(&self, ledger: &mut Ledger) {
        let Self {
            inner, numerics, ..
        } = *self;
        let streams = [self.image, self.text];
        let outer = |tokens: u64| numerics.bytes(tokens * inner);
        let wide = |tokens: u64| numerics.bytes(tokens * 4 * inner);
        // The streams before the sum, the result of attention before its projection, and the
        // normalised streams.
        let held = numerics.kept_until_stream_ends(3 * outer(self.image + self.text));
        ledger.hold(held);
        for tokens in streams {
            ledger.spike(numerics.gated_add_norm(tokens * inner));
        }
        for tokens in streams {
            ledger.spike(self.activated_linear(tokens, inner, 4 * inner));
            ledger.hold(wide(tokens));
        }
        ledger.release(outer(self.image + self.text));
        for tokens in streams {
            ledger.spike(self.linear(tokens, 4 * inner, inner));
            ledger.hold(outer(tokens));
        }
        ledger.release(wide(self.image + self.text) + held);
    }
}
