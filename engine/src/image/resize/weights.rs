//! The weights of the pixels that each resized pixel is made of, in fixed-point numbers.

use std::f64::consts::PI;

use super::Span;

/// Fractional bits of a weight: 8 bits of a 32-bit sum are the sample's, and two are for the sign and
/// for sums beyond white.
pub(super) const PRECISION: u32 = 32 - 8 - 2;
/// A half, which the final shift rounds by.
pub(super) const HALF: i32 = 1 << (PRECISION - 1);

/// The filter that gives a pixel its weight by its distance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Filter {
    /// A sinc windowed by its own first lobe, three pixels wide.
    Lanczos,
    /// Keys' cubic convolution with `a = -0.5` (Catmull-Rom), two pixels wide.
    Bicubic,
}

impl Filter {
    /// Its reach to each side, in pixels of an image that does not shrink.
    const fn support(self) -> f64 {
        match self {
            Self::Lanczos => 3.0,
            Self::Bicubic => 2.0,
        }
    }

    fn at(self, distance: f64) -> f64 {
        match self {
            Self::Lanczos => lanczos(distance),
            Self::Bicubic => bicubic(distance.abs()),
        }
    }
}

fn lanczos(x: f64) -> f64 {
    if (-3.0..3.0).contains(&x) {
        sinc(x) * sinc(x / 3.0)
    } else {
        0.0
    }
}

fn sinc(x: f64) -> f64 {
    if x == 0.0 {
        return 1.0;
    }
    let x = x * PI;
    x.sin() / x
}

fn bicubic(x: f64) -> f64 {
    const A: f64 = -0.5;
    if x < 1.0 {
        ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0
    } else if x < 2.0 {
        (((x - 5.0) * x + 8.0) * x - 4.0) * A
    } else {
        0.0
    }
}

/// The weights of one axis. Those of a pixel are 1 together, and their magnitudes less than 2, so that
/// a sum of weighted samples fits into 32 bits.
#[derive(Debug)]
pub(super) struct Weights {
    /// The first pixel that counts for each resized pixel, and the end of its weights.
    pixels: Vec<(usize, usize)>,
    /// The weights of all resized pixels, one after the other.
    weights: Vec<i32>,
}

impl Weights {
    /// The weights that make `to` pixels of a part of `side` pixels.
    pub(super) fn new(filter: Filter, side: u32, part: Span, to: u32) -> Self {
        let (from, end) = (f64::from(part.from), f64::from(part.to));
        let scale = (end - from) / f64::from(to);
        let filter_scale = scale.max(1.0);
        let (reach, shrink) = (filter.support() * filter_scale, 1.0 / filter_scale);
        let mut found = Self {
            pixels: Vec::with_capacity(to as usize),
            weights: Vec::new(),
        };
        let mut shares = Vec::new();
        for pixel in 0..to {
            let centre = from + (f64::from(pixel) + 0.5) * scale;
            // Casts round towards zero, and negative numbers become zero.
            let first = (centre - reach + 0.5) as u32;
            let last = ((centre + reach + 0.5) as u32).min(side);
            shares.clear();
            shares.extend((first..last).map(|at| {
                let distance = f64::from(at) - centre + 0.5;
                filter.at(distance * shrink)
            }));
            let sum: f64 = shares.iter().sum();
            let sum = if sum == 0.0 { 1.0 } else { sum };
            let fixed = |share: &f64| {
                let scaled = share / sum * f64::from(1 << PRECISION);
                (scaled + 0.5f64.copysign(scaled)) as i32
            };
            found.weights.extend(shares.iter().map(fixed));
            found.pixels.push((first as usize, found.weights.len()));
        }
        found
    }

    /// The first pixel that counts for each resized pixel, and the weights from there on.
    pub(super) fn iter(&self) -> impl Iterator<Item = (usize, &[i32])> {
        let mut begin = 0;
        self.pixels.iter().map(move |&(first, end)| {
            let weights = &self.weights[begin..end];
            begin = end;
            (first, weights)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{Filter, PRECISION, Span, Weights};

    #[test]
    fn sums_of_weighted_samples_fit_into_32_bits() {
        for filter in [Filter::Lanczos, Filter::Bicubic] {
            for from in 1..40 {
                for to in 1..60 {
                    let weights = Weights::new(filter, from, Span { from: 0, to: from }, to);
                    assert_eq!(weights.iter().count(), to as usize);
                    for (first, weights) in weights.iter() {
                        assert!(first + weights.len() <= from as usize && !weights.is_empty());
                        let magnitude: i64 = weights.iter().map(|w| i64::from(w.abs())).sum();
                        assert!(magnitude < 2 << PRECISION, "{filter:?} {from} {to}");
                    }
                }
            }
        }
    }

    #[test]
    fn an_empty_part_goes_on_as_the_edge_points() {
        let weights = Weights::new(Filter::Bicubic, 5, Span { from: 5, to: 5 }, 1);
        let found: Vec<_> = weights.iter().collect();
        let one = 1 << PRECISION;
        assert_eq!(found, [(3, &[-one / 8, one + one / 8][..])]);
    }
}
