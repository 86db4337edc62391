//! The stages of an encoder or a decoder as a ladder, climbed up or down, whole or tile by tile.
//!
//! Every step of a stage is local: an output pixel depends on a neighbourhood of known width. So
//! the stages of high resolution can run on a tile and a halo of that width around it, and give
//! the pixels that they would give on the whole image. The mid block, whose attention sees every
//! pixel, always runs whole; it stands before a decoder's ladder and after an encoder's.

use std::ops::Range;

use burn::tensor::Tensor;
use burn::tensor::backend::Backend;

use super::stages::{Stage, mid_elements};
use super::tiling::{Band, TilePlan};
use crate::config::VaeConfig;

/// Which way the resolution goes from stage to stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Direction {
    /// A decoder's: each stage but the first doubles the resolution at its beginning.
    Up,
    /// An encoder's: each stage but the last halves the resolution at its end.
    Down,
}

/// The stages of a decoder after its mid block, or of an encoder before its own.
///
/// Sizes are `[height, width]`. The size that a ladder is given is that of its input: latent
/// pixels for a decoder, image pixels for an encoder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ladder {
    direction: Direction,
    stages: Vec<Stage>,
}

impl Ladder {
    /// A decoder's ladder, from the latents' resolution up.
    pub(crate) fn up(stages: Vec<Stage>) -> Self {
        let direction = Direction::Up;
        Self { direction, stages }
    }

    /// An encoder's ladder, from the image's resolution down.
    pub(crate) fn down(stages: Vec<Stage>) -> Self {
        let direction = Direction::Down;
        Self { direction, stages }
    }

    /// The ladder of a decoder of these sizes.
    pub(crate) fn of_decoder(config: &VaeConfig) -> Self {
        Self::up(Stage::of_decoder(config))
    }

    /// The ladder of an encoder of these sizes.
    pub(crate) fn of_encoder(config: &VaeConfig) -> Self {
        Self::down(Stage::of_encoder(config))
    }

    /// The stages in the order in which they run.
    pub(crate) fn stages(&self) -> &[Stage] {
        &self.stages
    }

    /// One side of the maps that stage `index` works on, of an input of `side` pixels.
    pub(super) fn side_at(&self, index: usize, side: usize) -> usize {
        match self.direction {
            Direction::Up => side << index,
            Direction::Down => side >> index,
        }
    }

    /// The size of the maps that stage `index` works on.
    pub(crate) fn size_at(&self, index: usize, size: [usize; 2]) -> [usize; 2] {
        size.map(|side| self.side_at(index, side))
    }

    /// One side of the image, of an input of `side` pixels.
    pub(super) fn image_side(&self, side: usize) -> usize {
        match self.direction {
            Direction::Up => self.side_at(self.stages.len() - 1, side),
            Direction::Down => side,
        }
    }

    /// The `count` stages of the highest resolutions.
    pub(super) fn highest(&self, count: usize) -> Range<usize> {
        match self.direction {
            Direction::Up => self.stages.len() - count..self.stages.len(),
            Direction::Down => 0..count,
        }
    }

    /// The number of times that the map after the tiled stages has been halved, compared with the
    /// image.
    pub(super) fn shift_after(&self, tiled: &Range<usize>) -> usize {
        match self.direction {
            Direction::Up => 0,
            Direction::Down => tiled.end,
        }
    }

    /// The ranges along one axis that each of the `tiled` stages must read so that `gives` of the
    /// last one's result comes out right, of an input of `side` pixels; each at the resolution of
    /// what the stage is given.
    ///
    /// There is no halo beyond the map's border: there, the convolutions' own border of zeros is
    /// right.
    pub(super) fn reads(
        &self,
        tiled: Range<usize>,
        gives: Range<usize>,
        side: usize,
    ) -> Vec<Range<usize>> {
        let mut range = gives;
        let mut reads: Vec<_> = tiled
            .rev()
            .map(|index| {
                let margin = self.stages[index].margin();
                let side = self.side_at(index, side);
                range = match self.direction {
                    Direction::Up => {
                        let start = range.start.saturating_sub(margin);
                        let end = (range.end + margin).min(side);
                        // A pixel of the stage before becomes two.
                        start / 2..end.div_ceil(2)
                    }
                    Direction::Down => {
                        // The last convolution sees its margin around each odd pixel. Both ends
                        // are even, so that the downsampler keeps the pixels that it would keep
                        // of the whole map.
                        let start = (2 * range.start + 1).saturating_sub(margin);
                        let end = (2 * range.end + margin).min(side);
                        start / 2 * 2..end.next_multiple_of(2)
                    }
                };
                range.clone()
            })
            .collect();
        reads.reverse();
        reads
    }

    /// The side of the map that a stage works on after it has read `read` pixels.
    pub(super) fn worked_on(&self, read: usize) -> usize {
        match self.direction {
            Direction::Up => 2 * read,
            Direction::Down => read,
        }
    }

    /// The place in its whole map at which a stage's result begins, if what it read begins at
    /// `start`.
    fn result_of(&self, start: usize) -> usize {
        match self.direction {
            Direction::Up => 2 * start,
            Direction::Down => start / 2,
        }
    }

    /// The elements of the map between the whole and the tiled stages: what every tile of a
    /// decoder reads, and what all tiles of an encoder give together.
    pub(crate) fn seam_elements(&self, tiled: &Range<usize>, size: [usize; 2]) -> u64 {
        let (before, resolution) = match self.direction {
            Direction::Up => (tiled.start - 1, tiled.start - 1),
            Direction::Down => (tiled.end - 1, tiled.end),
        };
        let [height, width] = self.size_at(resolution, size);
        (self.stages[before].output() * height * width) as u64
    }

    /// The elements of the mid block's maps at its peak.
    pub(super) fn mid_elements(&self, size: [usize; 2]) -> u64 {
        let last = self.stages.len() - 1;
        match self.direction {
            Direction::Up => mid_elements(self.stages[0].input(), size),
            Direction::Down => mid_elements(self.stages[last].output(), self.size_at(last, size)),
        }
    }

    /// Runs all stages on `x`, float `[batch, channels, height, width]`: those of `plan` tile by
    /// tile, the others whole. `stage` runs the stage of an index on a map or a part of it.
    ///
    /// `cancelled` is asked before each whole stage and each tile; once it says so, there is no
    /// result.
    pub(super) fn run<B: Backend>(
        &self,
        x: Tensor<B, 4>,
        plan: Option<&TilePlan>,
        stage: &dyn Fn(usize, Tensor<B, 4>) -> Tensor<B, 4>,
        cancelled: &dyn Fn() -> bool,
    ) -> Option<Tensor<B, 4>> {
        let whole = |range: Range<usize>, x| {
            range.into_iter().try_fold(x, |x, index| match cancelled() {
                true => None,
                false => Some(stage(index, x)),
            })
        };
        let last = self.stages.len();
        let Some(plan) = plan else {
            return whole(0..last, x);
        };
        let x = whole(0..plan.tiled.start, x)?;
        let x = self.tiles(x, plan, stage, cancelled)?;
        whole(plan.tiled.end..last, x)
    }

    /// Runs the tiled stages on all tiles of `x` and puts the results together.
    fn tiles<B: Backend>(
        &self,
        x: Tensor<B, 4>,
        plan: &TilePlan,
        stage: &dyn Fn(usize, Tensor<B, 4>) -> Tensor<B, 4>,
        cancelled: &dyn Fn() -> bool,
    ) -> Option<Tensor<B, 4>> {
        let mut bands = Vec::with_capacity(plan.rows.len());
        for rows in &plan.rows {
            let mut tiles = Vec::with_capacity(plan.columns.len());
            for columns in &plan.columns {
                if cancelled() {
                    return None;
                }
                tiles.push(self.tile(x.clone(), plan, [rows, columns], stage));
            }
            bands.push(Tensor::cat(tiles, 3));
        }
        drop(x);
        Some(Tensor::cat(bands, 2))
    }

    /// Runs the tiled stages on one tile of `x`.
    fn tile<B: Backend>(
        &self,
        mut x: Tensor<B, 4>,
        plan: &TilePlan,
        [rows, columns]: [&Band; 2],
        stage: &dyn Fn(usize, Tensor<B, 4>) -> Tensor<B, 4>,
    ) -> Tensor<B, 4> {
        // Where in the whole map `x` begins.
        let (mut top, mut left) = (0, 0);
        let reads = rows.reads.iter().zip(&columns.reads);
        for (index, (rows, columns)) in plan.tiled.clone().zip(reads) {
            x = part(x, [top, left], [rows, columns]);
            x = stage(index, x);
            (top, left) = (self.result_of(rows.start), self.result_of(columns.start));
        }
        part(x, [top, left], [&rows.gives, &columns.gives])
    }
}

/// Some rows and columns of a map of which `x` begins at `top` and `left`.
fn part<B: Backend>(
    x: Tensor<B, 4>,
    [top, left]: [usize; 2],
    [rows, columns]: [&Range<usize>; 2],
) -> Tensor<B, 4> {
    x.narrow(2, rows.start - top, rows.len())
        .narrow(3, columns.start - left, columns.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_decoders_halo_is_its_receptive_field() {
        let ladder = Ladder::of_decoder(&VaeConfig::published());
        // The last stage: one upsampler, three residual blocks of two and the output's, 3 x 3
        // each, see 8 pixels to each side.
        let reads = |tiled, gives, image: usize| ladder.reads(tiled, gives, image / 8);
        assert_eq!(reads(3..4, 64..128, 256).first(), Some(&(28..68)));
        // The stage before sees 7 pixels more: 28 - 7 is odd, so a whole pixel is read.
        assert_eq!(reads(2..4, 64..128, 256), [10..38, 28..68]);
        // No halo beyond the image.
        assert_eq!(reads(2..4, 0..128, 128), [0..32, 0..64]);
    }

    #[test]
    fn an_encoders_halo_is_its_receptive_field() {
        let ladder = Ladder::of_encoder(&VaeConfig::published());
        // Output pixel i is the convolution at pixel 2i + 1 of the stage, which sees a pixel to
        // each side; two residual blocks see four more, and the image's convolution one: from
        // 2 * 32 + 1 - 6 = 59 to 2 * 63 + 1 + 6 = 133.
        assert_eq!(ladder.reads(0..1, 32..64, 256).first(), Some(&(58..134)));
        // No halo beyond the image.
        assert_eq!(ladder.reads(0..2, 0..32, 128), [0..128, 0..64]);
    }
}
