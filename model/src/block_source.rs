//! The place that a pass gets a model's blocks from: the seam behind which blocks can be anywhere.

use std::convert::Infallible;

/// Lends the blocks of a model, modules `M`, one at a time: a transformer's blocks
/// ([`TransformerBlock`](crate::transformer::TransformerBlock)), the layers that modulate them
/// ([`BlockModulation`](crate::transformer::BlockModulation)), or a text encoder's layers
/// ([`DecoderLayer`](crate::text_encoder::DecoderLayer)).
///
/// A pass borrows every block once, in the order `0, 1, … count() - 1`, and the next pass begins at
/// 0 again. So a source knows which block comes next, and can fetch it while the device computes
/// with this one.
pub trait BlockSource<M> {
    /// Why a block could not be had.
    type Error;

    /// The number of blocks in a pass.
    fn count(&self) -> usize;

    /// Lends block `index` to `work`.
    ///
    /// When `work` returns, its operations are queued on the device, which may still be computing
    /// with the block. A source that reuses the block's memory has to order that after them, on
    /// the device.
    ///
    /// # Errors
    /// The block could not be had; `work` was not called. The pass ends.
    fn with_block<T>(&mut self, index: usize, work: impl FnOnce(&M) -> T)
    -> Result<T, Self::Error>;
}

/// Blocks that are all in the device's memory.
#[derive(Debug)]
pub struct Resident<'a, M>(pub &'a [M]);

impl<M> BlockSource<M> for Resident<'_, M> {
    type Error = Infallible;

    fn count(&self) -> usize {
        self.0.len()
    }

    fn with_block<T>(&mut self, index: usize, work: impl FnOnce(&M) -> T) -> Result<T, Infallible> {
        Ok(work(&self.0[index]))
    }
}
