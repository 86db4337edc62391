//! Resizing, equal to Pillow's (before version 13) to the last bit: a filter that is widened where
//! the image shrinks, in two passes over 8-bit samples. Rows are resized first, and what they become
//! is rounded and clipped to 8 bits before columns are.

mod weights;

use image::{ImageBuffer, Pixel};
use rayon::prelude::*;

pub(crate) use weights::Filter;
use weights::{HALF, PRECISION, Weights};

/// An image of 8-bit samples, such as [`image::RgbImage`] or [`image::GrayImage`].
type Image<P> = ImageBuffer<P, Vec<u8>>;

/// The part of a side that is resized, in pixels from its beginning. An empty part stands for the
/// pixels around its place, as the filter weighs them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Span {
    pub(super) from: u32,
    pub(super) to: u32,
}

impl Span {
    const fn whole(side: u32) -> Self {
        Self { from: 0, to: side }
    }
}

/// The image stretched to `width` x `height`.
pub(super) fn resize<P>(image: &Image<P>, width: u32, height: u32, filter: Filter) -> Image<P>
where
    P: Pixel<Subpixel = u8>,
{
    let spans = [Span::whole(image.width()), Span::whole(image.height())];
    resize_part(image, spans, width, height, filter)
}

/// A part of the image, its columns and its rows, stretched to `width` x `height`.
pub(super) fn resize_part<P>(
    image: &Image<P>,
    [columns, rows]: [Span; 2],
    width: u32,
    height: u32,
    filter: Filter,
) -> Image<P>
where
    P: Pixel<Subpixel = u8>,
{
    let across = (columns != Span::whole(width) || width != image.width())
        .then(|| Weights::new(filter, image.width(), columns, width));
    let down = (rows != Span::whole(height) || height != image.height())
        .then(|| Weights::new(filter, image.height(), rows, height));
    let resized = across.map(|weights| resize_rows(image, &weights, width));
    let image = resized.as_ref().unwrap_or(image);
    match down {
        Some(weights) => resize_columns(image, &weights, height),
        None => image.clone(),
    }
}

fn resize_rows<P>(image: &Image<P>, weights: &Weights, width: u32) -> Image<P>
where
    P: Pixel<Subpixel = u8>,
{
    let mut resized = Image::<P>::new(width, image.height());
    let channels = usize::from(P::CHANNEL_COUNT);
    let (from, to) = (image.width() as usize * channels, width as usize * channels);
    if from == 0 || to == 0 {
        return resized;
    }
    let rows = image.as_raw().par_chunks_exact(from);
    let row = match channels {
        1 => resize_row::<1>,
        2 => resize_row::<2>,
        3 => resize_row::<3>,
        _ => resize_row::<4>,
    };
    rows.zip(resized.par_chunks_exact_mut(to))
        .for_each(|(from, to)| row(from, to, weights));
    resized
}

fn resize_row<const CHANNELS: usize>(from: &[u8], to: &mut [u8], weights: &Weights) {
    let (from, _) = from.as_chunks::<CHANNELS>();
    let (to, _) = to.as_chunks_mut::<CHANNELS>();
    for (to, (start, weights)) in to.iter_mut().zip(weights.iter()) {
        let mut sums = [HALF; CHANNELS];
        for (pixel, weight) in from[start..].iter().zip(weights) {
            for (sum, sample) in sums.iter_mut().zip(pixel) {
                *sum += i32::from(*sample) * weight;
            }
        }
        *to = sums.map(level);
    }
}

fn resize_columns<P>(image: &Image<P>, weights: &Weights, height: u32) -> Image<P>
where
    P: Pixel<Subpixel = u8>,
{
    let mut resized = Image::<P>::new(image.width(), height);
    let length = image.width() as usize * usize::from(P::CHANNEL_COUNT);
    if length == 0 {
        return resized;
    }
    let samples = image.as_raw();
    let rows: Vec<_> = weights.iter().collect();
    let targets = resized.par_chunks_exact_mut(length).zip(rows);
    targets.for_each_init(
        || vec![0; length],
        |sums, (to, (start, weights))| {
            sums.fill(HALF);
            let rows = samples[start * length..].chunks_exact(length);
            for (row, weight) in rows.zip(weights) {
                for (sum, sample) in sums.iter_mut().zip(row) {
                    *sum += i32::from(*sample) * weight;
                }
            }
            for (to, sum) in to.iter_mut().zip(sums) {
                *to = level(*sum);
            }
        },
    );
    resized
}

/// The 8-bit level of a sum of weighted samples that began with [`HALF`].
fn level(sum: i32) -> u8 {
    (sum >> PRECISION).clamp(0, 255) as u8
}
