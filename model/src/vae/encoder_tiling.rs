//! Encoding an image tile by tile.
//!
//! Before the mid block every step is local, so the first levels can run on a tile and a halo of
//! the width that they read, and give the map that they would give on the whole image.

use std::ops::Range;

use super::levels::{Level, mid_elements};
use super::tiling::Tiling;

/// Which levels run tile by tile, and on what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct EncoderPlan {
    /// How many levels, from the first on; each ends with a downsampler.
    pub(crate) tiled: usize,
    /// Bands of rows.
    pub(crate) rows: Vec<EncoderBand>,
    /// Bands of columns.
    pub(crate) columns: Vec<EncoderBand>,
}

/// A tile's extent along one axis.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct EncoderBand {
    /// For each tiled level, what it reads, at its own resolution. Both ends are even, so that the
    /// downsampler keeps the pixels that it would keep of the whole.
    pub(crate) reads: Vec<Range<usize>>,
    /// What the tile gives of the map after the tiled levels.
    pub(crate) gives: Range<usize>,
}

/// The tiles in which an image of `size` pixels (height, width) is encoded; `None` if it is encoded
/// whole. A tile has at most the tiling's side of image pixels, rounded to whole pixels of the map
/// that it gives, and a halo.
///
/// How many levels are tiled is chosen as for the decoder: the fewest with which the peak is at
/// most half again as high as with the best.
pub(crate) fn encoder_plan(
    tiling: Tiling,
    levels: &[Level],
    size: [usize; 2],
) -> Option<EncoderPlan> {
    let Tiling::Tiles { side } = tiling else {
        return None;
    };
    if size.iter().all(|&size| size <= side) {
        return None;
    }
    let plans: Vec<EncoderPlan> = (1..levels.len())
        .map(|tiled| EncoderPlan::new(levels, tiled, size, side))
        .collect();
    let peaks: Vec<u64> = plans
        .iter()
        .map(|plan| plan.peak_elements(levels, size))
        .collect();
    let best = *peaks.iter().min()?;
    let good = peaks.iter().position(|&peak| peak <= best + best / 2)?;
    plans.into_iter().nth(good)
}

impl EncoderPlan {
    fn new(levels: &[Level], tiled: usize, size: [usize; 2], side: usize) -> Self {
        let [rows, columns] = size.map(|size| bands(&levels[..tiled], size, side));
        Self {
            tiled,
            rows,
            columns,
        }
    }

    /// The height and width of the largest map that each tiled level works on.
    pub(crate) fn largest(&self) -> Vec<[usize; 2]> {
        let longest = |bands: &[EncoderBand], level: usize| {
            let lengths = bands.iter().map(|band| band.reads[level].len());
            lengths.max().unwrap_or(0)
        };
        (0..self.tiled)
            .map(|level| [longest(&self.rows, level), longest(&self.columns, level)])
            .collect()
    }

    /// Elements of the maps that exist at once at the peak.
    fn peak_elements(&self, levels: &[Level], [height, width]: [usize; 2]) -> u64 {
        let last = levels.len() - 1;
        let mid = mid_elements(levels[last].output(), height >> last, width >> last);
        let whole = levels.iter().enumerate().skip(self.tiled);
        let whole = whole.map(|(i, level)| level.elements(height >> i, width >> i));
        let tiled = levels[..self.tiled].iter().zip(self.largest());
        let tiled = tiled.map(|(level, [height, width])| level.elements(height, width));
        let given = levels[self.tiled - 1].output();
        let given = given * (height >> self.tiled) * (width >> self.tiled);
        let tiled = tiled.max().unwrap_or(0) + given as u64;
        whole.max().unwrap_or(0).max(mid).max(tiled)
    }
}

/// Divides the map that `tiled` give of `size` pixels into as few bands of at most `side` image
/// pixels as there can be, all but equal.
fn bands(tiled: &[Level], size: usize, side: usize) -> Vec<EncoderBand> {
    let given = size >> tiled.len();
    let most = (side >> tiled.len()).max(1);
    let length = given.div_ceil(given.div_ceil(most).max(1)).max(1);
    (0..given)
        .step_by(length)
        .map(|start| {
            let gives = start..(start + length).min(given);
            EncoderBand {
                reads: reads(tiled, gives.clone(), size),
                gives,
            }
        })
        .collect()
}

/// What each of `tiled` must read of an image of `size` pixels so that `gives` comes out right.
fn reads(tiled: &[Level], gives: Range<usize>, size: usize) -> Vec<Range<usize>> {
    let mut range = gives;
    let mut reads: Vec<_> = tiled
        .iter()
        .enumerate()
        .rev()
        .map(|(i, level)| {
            let margin = level.margin();
            // The last convolution sees its margin around each odd pixel.
            let start = (2 * range.start + 1).saturating_sub(margin);
            let end = (2 * range.end + margin).min(size >> i);
            range = start / 2 * 2..end.next_multiple_of(2);
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
        Level::of_encoder(&VaeConfig::published())
    }

    #[test]
    fn bands_cover_the_map_once() {
        let levels = published();
        for tiled in 1..levels.len() {
            for (size, side) in [(1328, 512), (48, 16), (16, 100), (64, 1), (64, 0)] {
                let mut end = 0;
                for band in bands(&levels[..tiled], size, side) {
                    assert_eq!(band.gives.start, end);
                    assert!(band.gives.len() << tiled <= side.max(1 << tiled));
                    end = band.gives.end;
                    for (i, read) in band.reads.iter().enumerate() {
                        assert!(read.start % 2 == 0 && read.end % 2 == 0);
                        assert!(read.end <= size >> i, "{read:?} of {}", size >> i);
                    }
                }
                assert_eq!(end, size >> tiled);
            }
        }
    }

    #[test]
    fn a_halo_is_the_receptive_field() {
        let levels = published();
        // Output pixel i is the convolution at pixel 2i + 1 of the level, which sees a pixel to
        // each side; two residual blocks see four more, and the image's convolution one: from
        // 2 * 32 + 1 - 6 = 59 to 2 * 63 + 1 + 6 = 133.
        assert_eq!(reads(&levels[..1], 32..64, 256).first(), Some(&(58..134)));
        // No halo beyond the image.
        assert_eq!(reads(&levels[..2], 0..32, 128), [0..128, 0..64]);
    }

    #[test]
    fn an_image_within_a_tile_is_whole() {
        let levels = published();
        let tiles = Tiling::Tiles { side: 128 };
        assert_eq!(encoder_plan(tiles, &levels, [128, 128]), None);
        assert!(encoder_plan(tiles, &levels, [128, 144]).is_some());
        assert_eq!(encoder_plan(Tiling::Whole, &levels, [1328, 1328]), None);
    }

    #[test]
    fn smaller_tiles_need_less() {
        let levels = published();
        let size = [1328, 1328];
        let peaks = [1024, 512, 256, 128].map(|side| {
            let plan = encoder_plan(Tiling::Tiles { side }, &levels, size).expect("tiles");
            plan.peak_elements(&levels, size)
        });
        assert!(peaks.is_sorted_by(|a, b| a >= b), "{peaks:?}");
        let whole = levels.iter().enumerate();
        let whole = whole.map(|(i, level)| level.elements(size[0] >> i, size[1] >> i));
        let whole = whole.max().expect("levels");
        assert!(peaks[0] * 3 < whole * 2, "{peaks:?} of {whole}");
        assert!(peaks[3] * 8 < whole, "{peaks:?} of {whole}");
    }
}
