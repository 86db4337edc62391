//! Drawing only the part of an image that a mask is about, and putting it back: equal to what
//! diffusers' `VaeImageProcessor` does for `padding_mask_crop`.

use image::{GrayImage, ImageBuffer, Pixel, Rgb, RgbImage, imageops};

use super::resize::{Filter, Span, resize, resize_part};

/// A part of an image, in its pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Region {
    /// The first column.
    pub left: u32,
    /// The first row.
    pub top: u32,
    /// The number of columns.
    pub width: u32,
    /// The number of rows.
    pub height: u32,
}

impl Region {
    /// This part of an image of the mask's size.
    pub(super) fn of<P>(self, image: &ImageBuffer<P, Vec<u8>>) -> ImageBuffer<P, Vec<u8>>
    where
        P: Pixel<Subpixel = u8> + 'static,
    {
        imageops::crop_imm(image, self.left, self.top, self.width, self.height).to_image()
    }
}

/// The columns and the rows between which all of a mask that is not black lies.
#[derive(Debug, Clone, Copy)]
pub(super) struct Marked {
    columns: Range,
    rows: Range,
    /// The mask's width and height.
    sides: (u32, u32),
}

impl Marked {
    /// `None` for a mask that is black everywhere.
    pub(super) fn of(mask: &GrayImage) -> Option<Self> {
        let mut found: Option<Self> = None;
        let rows = mask.as_raw().chunks_exact((mask.width() as usize).max(1));
        for (row, greys) in rows.enumerate() {
            let Some(first) = greys.iter().position(|&grey| grey != 0) else {
                continue;
            };
            let last = greys.iter().rposition(|&grey| grey != 0).unwrap_or(first);
            let (columns, row) = (Range::of(first, last), Range::of(row, row));
            found = Some(match found {
                None => Self {
                    columns,
                    rows: row,
                    sides: mask.dimensions(),
                },
                Some(before) => Self {
                    columns: before.columns.with(columns),
                    rows: before.rows.with(row),
                    ..before
                },
            });
        }
        found
    }

    /// The part with `padding` around it, made wider or higher until it has the shape of `width` x
    /// `height` as far as the mask has room for it.
    pub(super) fn region(self, padding: u32, width: u32, height: u32) -> Region {
        let Self {
            mut columns,
            mut rows,
            sides,
        } = self;
        columns.pad(padding, sides.0);
        rows.pad(padding, sides.1);
        let ratio = f64::from(width) / f64::from(height);
        if columns.length() as f64 / rows.length() as f64 > ratio {
            rows.grow(columns.length() as f64 / ratio, sides.1);
        } else {
            columns.grow(rows.length() as f64 * ratio, sides.0);
        }
        // Both lie within the mask, whose sides are `u32`.
        Region {
            left: columns.from as u32,
            top: rows.from as u32,
            width: columns.length() as u32,
            height: rows.length() as u32,
        }
    }
}

/// Pixels of one axis, the end excluded.
#[derive(Debug, Clone, Copy)]
struct Range {
    from: i64,
    to: i64,
}

impl Range {
    const fn of(first: usize, last: usize) -> Self {
        Self {
            from: first as i64,
            to: last as i64 + 1,
        }
    }

    /// The range from the first to the last pixel of both.
    fn with(self, other: Self) -> Self {
        Self {
            from: self.from.min(other.from),
            to: self.to.max(other.to),
        }
    }

    const fn length(self) -> i64 {
        self.to - self.from
    }

    fn pad(&mut self, padding: u32, side: u32) {
        self.from = (self.from - i64::from(padding)).max(0);
        self.to = (self.to + i64::from(padding)).min(i64::from(side));
    }

    /// Grows on both sides, and where one is at the border, beyond the other.
    fn grow(&mut self, length: f64, side: u32) {
        let side = i64::from(side);
        let more = (length - self.length() as f64) as i64;
        self.from -= more / 2;
        self.to += more - more / 2;
        if self.to >= side {
            self.from -= self.to - side;
            self.to = side;
        }
        if self.from < 0 {
            self.to -= self.from;
            self.from = 0;
        }
        self.to = self.to.min(side);
    }
}

/// The image in its own shape, as large as fits into `width` x `height`, in the middle of them. What
/// is left on two sides is filled with the image's edge, carried on as the bicubic filter has it.
pub(super) fn resize_and_fill<P>(
    image: &ImageBuffer<P, Vec<u8>>,
    width: u32,
    height: u32,
) -> ImageBuffer<P, Vec<u8>>
where
    P: Pixel<Subpixel = u8> + 'static,
{
    let ratio = f64::from(width) / f64::from(height);
    let own_ratio = f64::from(image.width()) / f64::from(image.height());
    let inner_width = if ratio < own_ratio {
        width
    } else {
        proportional(image.width(), height, image.height())
    };
    let inner_height = if ratio >= own_ratio {
        height
    } else {
        proportional(image.height(), width, image.width())
    };
    let inner = resize(image, inner_width, inner_height, Filter::Lanczos);
    let mut filled = ImageBuffer::new(width, height);
    let (left, top) = (middle(width, inner_width), middle(height, inner_height));
    imageops::replace(&mut filled, &inner, left, top);
    let at = |place: u32| Span {
        from: place,
        to: place,
    };
    let [columns, rows] = [inner.width(), inner.height()].map(|side| Span { from: 0, to: side });
    if ratio < own_ratio && top > 0 {
        for (place, target) in [(0, 0), (inner_height, top + i64::from(inner_height))] {
            let edge = [columns, at(place)];
            let edge = resize_part(&inner, edge, width, top as u32, Filter::Bicubic);
            imageops::replace(&mut filled, &edge, 0, target);
        }
    } else if ratio > own_ratio && left > 0 {
        for (place, target) in [(0, 0), (inner_width, left + i64::from(inner_width))] {
            let edge = [at(place), rows];
            let edge = resize_part(&inner, edge, left as u32, height, Filter::Bicubic);
            imageops::replace(&mut filled, &edge, target, 0);
        }
    }
    filled
}

/// The image in its own shape, as small as covers `width` x `height`, of which the middle is kept.
fn resize_and_crop(image: &RgbImage, width: u32, height: u32) -> RgbImage {
    let ratio = f64::from(width) / f64::from(height);
    let own_ratio = f64::from(image.width()) / f64::from(image.height());
    let outer_width = if ratio > own_ratio {
        width
    } else {
        proportional(image.width(), height, image.height())
    };
    let outer_height = if ratio <= own_ratio {
        height
    } else {
        proportional(image.height(), width, image.width())
    };
    let outer = resize(image, outer_width, outer_height, Filter::Lanczos);
    let mut cropped = RgbImage::new(width, height);
    let place = (middle(width, outer_width), middle(height, outer_height));
    imageops::replace(&mut cropped, &outer, place.0, place.1);
    cropped
}

/// `side * of / by`, rounded down, but at least 1.
fn proportional(side: u32, of: u32, by: u32) -> u32 {
    let side = u64::from(side) * u64::from(of) / u64::from(by.max(1));
    u32::try_from(side).unwrap_or(u32::MAX).max(1)
}

/// The place at which a side begins that lies in the middle of another one.
fn middle(outer: u32, inner: u32) -> i64 {
    i64::from(outer / 2) - i64::from(inner / 2)
}

/// The image with what was `drawn` of a region in its place, as far as the mask is white; where the
/// mask is grey, both are blended.
pub(super) fn overlay(
    image: &RgbImage,
    mask: &GrayImage,
    region: Region,
    drawn: &RgbImage,
) -> RgbImage {
    let drawn = resize_and_crop(drawn, region.width, region.height);
    let mut result = RgbImage::new(image.width(), image.height());
    imageops::replace(
        &mut result,
        &drawn,
        i64::from(region.left),
        i64::from(region.top),
    );
    let kept = image.pixels().zip(mask.pixels());
    for (pixel, (kept, mask)) in result.pixels_mut().zip(kept) {
        *pixel = blend(*pixel, *kept, 255 - mask.0[0]);
    }
    result
}

/// `above` over `below`. Pillow multiplies the colours by `alpha`, divides them again and blends, each
/// time in 8 bits.
fn blend(below: Rgb<u8>, above: Rgb<u8>, alpha: u8) -> Rgb<u8> {
    let opacity = u32::from(alpha);
    if opacity == 0 {
        return below;
    }
    let mut blended = below;
    for (below, above) in blended.0.iter_mut().zip(above.0) {
        let premultiplied = over_255(u32::from(above) * opacity + 128);
        let above = (255 * premultiplied / opacity).min(255);
        // Seven more bits of precision.
        let sum = (above * opacity + u32::from(*below) * (255 - opacity)) << 7;
        *below = (over_255(sum + (128 << 7)) >> 7) as u8;
    }
    blended
}

/// A number divided by 255; one that has 128 added to it, rounded.
const fn over_255(number: u32) -> u32 {
    ((number >> 8) + number) >> 8
}
