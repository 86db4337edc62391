//! The place that a pass gets its blocks from: the seam behind which blocks can be anywhere.

use std::convert::Infallible;

use burn::tensor::backend::Backend;

use super::TransformerBlock;

/// Lends a transformer's blocks, one at a time.
///
/// A pass borrows every block once, in the order `0, 1, … count() - 1`, and the next pass begins at
/// 0 again. So a source knows which block comes next, and can fetch it while the device computes
/// with this one. A pass applies the modulations of its [`Level`](super::Level) and never asks a
/// block for its own, so a lent block needs no `img_mod` and no `txt_mod`: a third of its weights.
pub trait BlockSource<B: Backend> {
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
    fn with_block<T>(
        &mut self,
        index: usize,
        work: impl FnOnce(&TransformerBlock<B>) -> T,
    ) -> Result<T, Self::Error>;
}

/// Blocks that are all in the device's memory.
#[derive(Debug)]
pub struct Resident<'a, B: Backend>(pub &'a [TransformerBlock<B>]);

impl<B: Backend> BlockSource<B> for Resident<'_, B> {
    type Error = Infallible;

    fn count(&self) -> usize {
        self.0.len()
    }

    fn with_block<T>(
        &mut self,
        index: usize,
        work: impl FnOnce(&TransformerBlock<B>) -> T,
    ) -> Result<T, Infallible> {
        Ok(work(&self.0[index]))
    }
}
