//! Decoding an image tile by tile.
//!
//! After the mid block every step is local: a pixel depends on a neighbourhood of known width.
//! So the last levels can run on a tile and a halo of that width around it, and give the pixels
//! that they would give on the whole image.

use std::ops::Range;

use super::levels::{Level, mid_elements};

/// How much of the image the decoder's last levels work on at a time. The image is the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tiling {
    /// All of it.
    Whole,
    /// One tile after the other. The maps of the levels before, at a fraction of the resolution,
    /// are whole.
    Tiles {
        /// Most image pixels along a side of a tile, without its halo. The smaller, the less
        /// memory, and the more is computed twice: with the published VAE and 1328 x 1328
        /// pixels, tiles of 512 take 1.15 times the arithmetic, of 256 1.4 times, and of 128
        /// 1.9 times.
        side: usize,
    },
}

impl Tiling {
    /// The level from which on an image with latents of `latent_size` (height, width) is decoded
    /// tile by tile, and the tiles; `None` if it is decoded whole.
    ///
    /// Where to begin is a choice: early, and more is computed twice in halos; late, and larger
    /// maps are whole. This is the latest level with which the peak is at most half again as
    /// high as with the best.
    pub(crate) fn plan(self, levels: &[Level], latent_size: [usize; 2]) -> Option<TilePlan> {
        let Self::Tiles { side } = self else {
            return None;
        };
        let full = latent_size.map(|size| size << (levels.len() - 1));
        if full.iter().all(|&size| size <= side) {
            return None;
        }
        let plans: Vec<TilePlan> = (1..levels.len())
            .map(|first| TilePlan::new(levels, first, full, side))
            .collect();
        let peaks: Vec<u64> = plans
            .iter()
            .map(|plan| plan.peak_elements(levels, latent_size))
            .collect();
        let best = *peaks.iter().min()?;
        let good = peaks.iter().rposition(|&peak| peak <= best + best / 2)?;
        plans.into_iter().nth(good)
    }
}

/// Which levels run tile by tile, and on what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TilePlan {
    /// The first of these levels; it begins with an upsampler.
    pub(crate) first: usize,
    /// Bands of rows of the image.
    pub(crate) rows: Vec<Band>,
    /// Bands of columns.
    pub(crate) columns: Vec<Band>,
}

/// A tile's extent along one axis.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Band {
    /// For each tiled level, what it reads of the level before, at that one's resolution.
    pub(crate) reads: Vec<Range<usize>>,
    /// The tile in the image.
    pub(crate) pixels: Range<usize>,
}

impl TilePlan {
    fn new(levels: &[Level], first: usize, full: [usize; 2], side: usize) -> Self {
        let [rows, columns] = full.map(|size| bands(&levels[first..], size, side));
        Self {
            first,
            rows,
            columns,
        }
    }

    /// The height and width of the largest map that a tiled level works on, for each of them.
    pub(crate) fn largest(&self) -> Vec<[usize; 2]> {
        let longest = |bands: &[Band], level: usize| {
            let lengths = bands.iter().map(|band| 2 * band.reads[level].len());
            lengths.max().unwrap_or(0)
        };
        let tiled = self.rows.first().map_or(0, |band| band.reads.len());
        (0..tiled)
            .map(|level| [longest(&self.rows, level), longest(&self.columns, level)])
            .collect()
    }

    /// Elements of the maps that exist at once at the peak.
    fn peak_elements(&self, levels: &[Level], [height, width]: [usize; 2]) -> u64 {
        let mid = levels[0].0.first().map_or(0, |step| step.input);
        let mid = mid_elements(mid, height, width);
        let whole = levels[..self.first].iter().enumerate();
        let whole = whole.map(|(i, level)| level.elements(height << i, width << i));
        let tiled = levels[self.first..].iter().zip(self.largest());
        let tiled = tiled.map(|(level, [height, width])| level.elements(height, width));
        let shift = self.first - 1;
        let kept = levels[shift].output() * (height << shift) * (width << shift);
        let tiled = tiled.max().unwrap_or(0) + kept as u64;
        whole.max().unwrap_or(0).max(mid).max(tiled)
    }
}

/// Divides `size` pixels into as few bands of at most `side` as there can be, all but equal.
fn bands(tiled: &[Level], size: usize, side: usize) -> Vec<Band> {
    let count = size.div_ceil(side.max(1)).max(1);
    let length = size.div_ceil(count).max(1);
    (0..size)
        .step_by(length)
        .map(|start| {
            let pixels = start..(start + length).min(size);
            Band {
                reads: reads(tiled, pixels.clone(), size),
                pixels,
            }
        })
        .collect()
}

/// What each of `tiled` must read so that `pixels` of an image of `size` come out right. At the
/// image's border there is no halo: there, the convolutions' own border of zeros is right.
fn reads(tiled: &[Level], pixels: Range<usize>, size: usize) -> Vec<Range<usize>> {
    let (mut range, mut size) = (pixels, size);
    let mut reads: Vec<_> = tiled
        .iter()
        .rev()
        .map(|level| {
            let margin = level.margin();
            let start = range.start.saturating_sub(margin);
            let end = (range.end + margin).min(size);
            // A pixel of the level before becomes two.
            range = start / 2..end.div_ceil(2);
            size /= 2;
            range.clone()
        })
        .collect();
    reads.reverse();
    reads
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::VaeConfig;

    fn published() -> Vec<Level> {
        Level::of_decoder(&VaeConfig {
            base_dim: 96,
            z_dim: 16,
            dim_mult: vec![1, 2, 4, 4],
            num_res_blocks: 2,
            latents_mean: vec![0.0; 16],
            latents_std: vec![1.0; 16],
        })
    }

    #[test]
    fn bands_cover_the_image_once() {
        let levels = published();
        for (size, side) in [(1328, 512), (48, 16), (16, 100), (56, 1), (64, 0)] {
            let bands = bands(&levels[2..], size, side);
            let mut end = 0;
            for band in &bands {
                assert_eq!(band.pixels.start, end);
                assert!(band.pixels.len() <= side.max(1));
                end = band.pixels.end;
            }
            assert_eq!(end, size);
        }
    }

    #[test]
    fn a_halo_is_the_receptive_field() {
        let levels = published();
        // The last level: one upsampler, three residual blocks of two and the output's, 3 x 3
        // each, see 8 pixels to each side.
        assert_eq!(reads(&levels[3..], 64..128, 256).first(), Some(&(28..68)));
        // The level before sees 7 pixels more: 28 - 7 is odd, so a whole pixel is read.
        assert_eq!(reads(&levels[2..], 64..128, 256), [10..38, 28..68]);
        // No halo beyond the image.
        assert_eq!(reads(&levels[2..], 0..128, 128), [0..32, 0..64]);
    }

    #[test]
    fn an_image_within_a_tile_is_whole() {
        let levels = published();
        let tiles = Tiling::Tiles { side: 128 };
        assert_eq!(tiles.plan(&levels, [16, 16]), None);
        assert!(tiles.plan(&levels, [16, 17]).is_some());
        assert_eq!(Tiling::Whole.plan(&levels, [166, 166]), None);
    }

    #[test]
    fn smaller_tiles_need_less_and_begin_earlier() {
        let levels = published();
        let size = [166, 166];
        let plans = [1024, 512, 256, 128].map(|side| {
            let plan = Tiling::Tiles { side }.plan(&levels, size).expect("tiles");
            (plan.first, plan.peak_elements(&levels, size))
        });
        for pair in plans.windows(2) {
            assert!(
                pair[1].0 <= pair[0].0 && pair[1].1 <= pair[0].1,
                "{plans:?}"
            );
        }
        let whole = levels.iter().enumerate();
        let whole = whole.map(|(i, level)| level.elements(size[0] << i, size[1] << i));
        let whole = whole.max().expect("levels");
        assert!(
            plans[0].1 * 3 < whole * 2 && plans[3].1 * 9 < whole,
            "{plans:?} of {whole}"
        );
    }
}
