//! Whether a model fits in device memory, decided before it is loaded.

use backends::{DeviceMemory, ModelBackend};
use loader::{Footprint, Weights};
use model::{TextEncoderConfig, TransformerConfig, VaeConfig};

use crate::error::CliError;

/// Device memory that this run may use.
#[derive(Debug, Clone, Copy)]
pub(super) struct Budget {
    /// `--vram-limit`.
    limit: Option<u64>,
    /// What others used when this run began.
    used_before: u64,
}

impl Budget {
    /// The budget of a run that begins now.
    pub(super) fn new<B: ModelBackend>(limit: Option<u64>, device: &B::Device) -> Self {
        Self {
            limit,
            used_before: B::memory(device).map_or(0, |memory| memory.used()),
        }
    }

    /// Checks that a model and `working` bytes for its computation fit. Where the device has no
    /// memory of its own, or its driver does not tell, there is nothing to check against.
    ///
    /// # Errors
    /// [`CliError::Memory`] with both figures.
    pub(super) fn check<B: ModelBackend>(
        self,
        weights: &Weights,
        working: u64,
        device: &B::Device,
    ) -> Result<(), CliError> {
        let needed = Footprint::of(weights).total() + working;
        match B::memory(device) {
            Some(memory) => self.compare(&weights.component().to_string(), needed, memory),
            None => Ok(()),
        }
    }

    fn compare(self, what: &str, needed: u64, memory: DeviceMemory) -> Result<(), CliError> {
        let ours = memory.used().saturating_sub(self.used_before);
        let allowed = self.limit.map(|limit| limit.saturating_sub(ours));
        let limited = allowed.is_some_and(|allowed| allowed < memory.free);
        let available = allowed.map_or(memory.free, |allowed| allowed.min(memory.free));
        if needed <= available {
            return Ok(());
        }
        Err(CliError::Memory {
            what: what.to_owned(),
            needed,
            available,
            limited,
            advice: if limited {
                "raise the limit or make the image smaller"
            } else {
                "close other programs, make the image smaller, or use FP8 files"
            },
        })
    }
}

/// Bytes of an f32: an upper bound for activations, whatever the compute dtype.
const F32: u64 = 4;

/// Working memory of encoding `tokens` tokens: the residual stream and a layer's queries, keys,
/// values and gated feed-forward, the attention scores and their softmax, and one decoded weight.
pub(super) fn text_encoder_working(config: &TextEncoderConfig, tokens: usize) -> u64 {
    let (tokens, hidden, inner) = (
        tokens as u64,
        config.hidden_size as u64,
        config.intermediate_size as u64,
    );
    let layer = tokens * (6 * hidden + 3 * inner);
    let scores = 2 * config.num_attention_heads as u64 * tokens * tokens;
    F32 * (layer + scores + hidden * inner)
}

/// Working memory of a step over `tokens` image and text tokens: the residual stream, a block's
/// normalised input, queries, keys, values and attention output, the feed-forward's fourfold
/// inner width before and after its activation, and one decoded weight.
pub(super) fn transformer_working(config: &TransformerConfig, tokens: usize) -> u64 {
    let width = config.inner_dim() as u64;
    F32 * (tokens as u64 * width * 16 + 4 * width * width)
}

/// Working memory of decoding an image. The last stage costs most: at full resolution, the input
/// of twice the base width, and the input, output and sum of a residual block.
pub(super) fn vae_working(config: &VaeConfig, width: u32, height: u32) -> u64 {
    F32 * u64::from(width) * u64::from(height) * 6 * config.base_dim as u64
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use backends::DeviceMemory;

    use super::Budget;

    const GB: u64 = 1_000_000_000;

    fn fits(limit: Option<u64>, needed: u64, free: u64) -> Result<(), String> {
        let budget = Budget {
            limit,
            used_before: 2 * GB,
        };
        let memory = DeviceMemory {
            free,
            total: 24 * GB,
        };
        budget
            .compare("transformer", needed, memory)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn free_memory_binds_without_a_limit() {
        assert_eq!(fits(None, 20 * GB, 22 * GB), Ok(()));
        let error = fits(None, 23 * GB, 22 * GB).unwrap_err();
        assert!(error.contains("is free"), "{error}");
    }

    #[test]
    fn the_limit_counts_what_this_run_already_uses() {
        assert_eq!(fits(Some(10 * GB), 9 * GB, 22 * GB), Ok(()));
        // Four of the limit's ten are in use by this run already.
        let error = fits(Some(10 * GB), 9 * GB, 18 * GB).unwrap_err();
        assert!(error.contains("--vram-limit"), "{error}");
    }
}
