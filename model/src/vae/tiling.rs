//! The tiles in which an image is encoded or decoded.

use std::ops::Range;

use super::ladder::Ladder;

/// The part of the image that the VAE's stages of high resolution work on at a time. It decides how
/// much memory they take; the result is the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tiling {
    /// The whole image.
    Whole,
    /// One tile after the other. The maps of the other stages, at a fraction of the resolution,
    /// are whole.
    Tiles {
        /// The most image pixels along a side of a tile, without its halo. The smaller, the less
        /// memory, and the more is computed twice: with the published decoder and 1328 x 1328
        /// pixels, tiles of 512 take 1.15 times the arithmetic, of 256 1.4 times, and of 128
        /// 1.9 times.
        side: usize,
    },
}

impl Tiling {
    /// The tiles for an input of `size` pixels (height, width), which are latent pixels for a
    /// decoder; `None` if the image fits into one tile, and everything is computed whole.
    ///
    /// The number of tiled stages is a choice: with many, more is computed twice in halos; with few,
    /// larger maps are whole. The fewest are taken whose peak is at most half again as high as the
    /// lowest.
    pub(crate) fn plan(self, ladder: &Ladder, size: [usize; 2]) -> Option<TilePlan> {
        let Self::Tiles { side } = self else {
            return None;
        };
        let image = size.map(|side| ladder.image_side(side));
        if image.iter().all(|&image| image <= side) {
            return None;
        }
        let plans: Vec<TilePlan> = (1..ladder.stages().len())
            .map(|count| TilePlan::new(ladder, count, size, side))
            .collect();
        let peaks: Vec<u64> = plans
            .iter()
            .map(|plan| plan.peak_elements(ladder, size))
            .collect();
        let best = *peaks.iter().min()?;
        let good = peaks.iter().position(|&peak| peak <= best + best / 2)?;
        plans.into_iter().nth(good)
    }
}

/// Which stages of a ladder run tile by tile, and on what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TilePlan {
    /// The last stages of a decoder, or the first of an encoder.
    pub(crate) tiled: Range<usize>,
    /// Bands of rows.
    pub(crate) rows: Vec<Band>,
    /// Bands of columns.
    pub(crate) columns: Vec<Band>,
}

/// A tile's extent along one axis.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Band {
    /// The range that each tiled stage reads of the map that it is given.
    pub(crate) reads: Vec<Range<usize>>,
    /// The part of the map after the tiled stages that the tile gives.
    pub(crate) gives: Range<usize>,
}

impl TilePlan {
    fn new(ladder: &Ladder, count: usize, size: [usize; 2], side: usize) -> Self {
        let tiled = ladder.highest(count);
        let [rows, columns] = size.map(|size| bands(ladder, &tiled, size, side));
        Self {
            tiled,
            rows,
            columns,
        }
    }

    /// The height and width of the largest map that each tiled stage works on.
    pub(crate) fn largest(&self, ladder: &Ladder) -> Vec<[usize; 2]> {
        let longest = |bands: &[Band], stage: usize| {
            let lengths = bands
                .iter()
                .map(|band| ladder.worked_on(band.reads[stage].len()));
            lengths.max().unwrap_or(0)
        };
        (0..self.tiled.len())
            .map(|stage| [longest(&self.rows, stage), longest(&self.columns, stage)])
            .collect()
    }

    /// Elements of the maps that exist at the same time at the peak.
    fn peak_elements(&self, ladder: &Ladder, size: [usize; 2]) -> u64 {
        let stages = ladder.stages();
        let whole = (0..stages.len()).filter(|index| !self.tiled.contains(index));
        let whole = whole.map(|index| stages[index].elements(ladder.size_at(index, size)));
        let tiled = stages[self.tiled.clone()].iter().zip(self.largest(ladder));
        let tiled = tiled.map(|(stage, size)| stage.elements(size));
        let tiled = tiled.max().unwrap_or(0) + ladder.seam_elements(&self.tiled, size);
        let mid = ladder.mid_elements(size);
        whole.max().unwrap_or(0).max(mid).max(tiled)
    }
}

/// Divides the map that the tiled stages give, of an input of `size` pixels, into as few bands of
/// at most `side` image pixels as possible, all of nearly the same length.
fn bands(ladder: &Ladder, tiled: &Range<usize>, size: usize, side: usize) -> Vec<Band> {
    let shift = ladder.shift_after(tiled);
    let given = ladder.image_side(size) >> shift;
    let most = (side >> shift).max(1);
    let length = given.div_ceil(given.div_ceil(most).max(1)).max(1);
    (0..given)
        .step_by(length)
        .map(|start| {
            let gives = start..(start + length).min(given);
            Band {
                reads: ladder.reads(tiled.clone(), gives.clone(), size),
                gives,
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::VaeConfig;

    fn decoder() -> Ladder {
        Ladder::of_decoder(&VaeConfig::published())
    }

    fn encoder() -> Ladder {
        Ladder::of_encoder(&VaeConfig::published())
    }

    #[test]
    fn a_decoders_bands_cover_the_image_once() {
        let ladder = decoder();
        for (size, side) in [(1328, 512), (48, 16), (16, 100), (56, 1), (64, 0)] {
            let mut end = 0;
            for band in bands(&ladder, &(2..4), size / 8, side) {
                assert_eq!(band.gives.start, end);
                assert!(band.gives.len() <= side.max(1));
                end = band.gives.end;
            }
            assert_eq!(end, size);
        }
    }

    #[test]
    fn an_encoders_bands_cover_the_map_once() {
        let ladder = encoder();
        for tiled in 1..ladder.stages().len() {
            for (size, side) in [(1328, 512), (48, 16), (16, 100), (64, 1), (64, 0)] {
                let mut end = 0;
                for band in bands(&ladder, &(0..tiled), size, side) {
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
    fn an_image_within_a_tile_is_whole() {
        let tiles = Tiling::Tiles { side: 128 };
        assert_eq!(tiles.plan(&decoder(), [16, 16]), None);
        assert!(tiles.plan(&decoder(), [16, 17]).is_some());
        assert_eq!(Tiling::Whole.plan(&decoder(), [166, 166]), None);
        assert_eq!(tiles.plan(&encoder(), [128, 128]), None);
        assert!(tiles.plan(&encoder(), [128, 144]).is_some());
        assert_eq!(Tiling::Whole.plan(&encoder(), [1328, 1328]), None);
    }

    /// The number of tiled stages and the peak for tiles of 1024, 512, 256 and 128 pixels of a
    /// 1328 x 1328 image, and the peak of the stages without tiles.
    fn plans_of(ladder: &Ladder, size: [usize; 2]) -> ([(usize, u64); 4], u64) {
        let plans = [1024, 512, 256, 128].map(|side| {
            let plan = Tiling::Tiles { side }.plan(ladder, size).expect("tiles");
            (plan.tiled.len(), plan.peak_elements(ladder, size))
        });
        let whole = ladder.stages().iter().enumerate();
        let whole = whole.map(|(i, stage)| stage.elements(ladder.size_at(i, size)));
        (plans, whole.max().expect("stages"))
    }

    #[test]
    fn a_decoders_smaller_tiles_need_less_and_begin_earlier() {
        let (plans, whole) = plans_of(&decoder(), [166, 166]);
        for pair in plans.windows(2) {
            assert!(
                pair[1].0 >= pair[0].0 && pair[1].1 <= pair[0].1,
                "{plans:?}"
            );
        }
        assert!(
            plans[0].1 * 3 < whole * 2 && plans[3].1 * 9 < whole,
            "{plans:?} of {whole}"
        );
    }

    #[test]
    fn an_encoders_smaller_tiles_need_less() {
        let (plans, whole) = plans_of(&encoder(), [1328, 1328]);
        assert!(plans.is_sorted_by(|a, b| a.1 >= b.1), "{plans:?}");
        assert!(plans[0].1 * 3 < whole * 2, "{plans:?} of {whole}");
        assert!(plans[3].1 * 8 < whole, "{plans:?} of {whole}");
    }
}
