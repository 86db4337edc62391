//! Convolution on the CPU as a sum of matrix products, one for each tap of the kernel.
//!
//! In an image padded with zeros, what a tap reads for a run of output rows is a run of memory:
//! the rows shifted by the tap. So no matrix of patches is built; the price is a few products
//! at the end of each row that nobody reads.

use std::borrow::Cow;

use burn::tensor::{Bytes, DType, Tensor};
use burn_flex::{Flex, FlexTensor, Layout};
use rayon::prelude::*;

use super::tensor::{in_dtype, raw, to_f32, typed};
use crate::kernels::ConvSame;
use crate::working_memory::flex::convolution_rows;

pub(super) fn conv_same(call: ConvSame<Flex>) -> Tensor<Flex, 4> {
    let ConvSame { x, weight, bias } = call;
    let dtype = x.dtype();
    let (x, weight, bias) = (to_f32(raw(x)), to_f32(raw(weight)), to_f32(raw(bias)));
    let [batch, input, height, width] = x.layout().shape().dims();
    let [output, _, side, _] = weight.layout().shape().dims();
    let taps = by_tap(weight.storage(), output * input, side * side);
    let bias = bias.storage::<f32>();
    let mut out = vec![0.0f32; batch * output * height * width];
    for (image, out) in out
        .chunks_exact_mut((output * height * width).max(1))
        .enumerate()
    {
        let size = input * height * width;
        let values = &x.storage::<f32>()[image * size..(image + 1) * size];
        let conv = Conv {
            padded: Padded::new(values, [input, height, width], side / 2),
            taps: &taps,
            bias,
            out: out.as_mut_ptr(),
            height,
            width,
            side,
        };
        conv.run();
    }
    let shape = [batch, output, height, width];
    let out = FlexTensor::new(
        Bytes::from_elems(out),
        Layout::contiguous(shape.into()),
        DType::F32,
    );
    typed(in_dtype(out, dtype))
}

/// `[channel pairs, taps]` as `[taps, channel pairs]`.
fn by_tap(weight: &[f32], pairs: usize, taps: usize) -> Cow<'_, [f32]> {
    if taps == 1 {
        return Cow::Borrowed(weight);
    }
    let mut gathered = vec![0.0f32; weight.len()];
    gathered
        .par_chunks_mut(pairs.max(1))
        .enumerate()
        .for_each(|(tap, values)| {
            for (value, kernel) in values.iter_mut().zip(weight.chunks_exact(taps)) {
                *value = kernel[tap];
            }
        });
    Cow::Owned(gathered)
}

/// An image with a border of zeros.
struct Padded<'a> {
    /// `[channels, height, width]`, and as many zeros as the last tap reads past the end.
    values: Cow<'a, [f32]>,
    channels: usize,
    height: usize,
    width: usize,
}

impl<'a> Padded<'a> {
    fn new(image: &'a [f32], [channels, height, width]: [usize; 3], border: usize) -> Self {
        let (padded_height, padded_width) = (height + 2 * border, width + 2 * border);
        let values = if border == 0 {
            Cow::Borrowed(image)
        } else {
            let plane = padded_height * padded_width;
            let mut values = vec![0.0f32; channels * plane + 2 * border];
            values[..channels * plane]
                .par_chunks_mut(plane)
                .zip(image.par_chunks(height * width))
                .for_each(|(padded, plane)| {
                    let rows = padded.chunks_exact_mut(padded_width).skip(border);
                    for (padded, row) in rows.zip(plane.chunks_exact(width)) {
                        padded[border..border + width].copy_from_slice(row);
                    }
                });
            Cow::Owned(values)
        };
        Self {
            values,
            channels,
            height: padded_height,
            width: padded_width,
        }
    }
}

/// One image.
struct Conv<'a> {
    padded: Padded<'a>,
    /// `[side * side, output, input]`.
    taps: &'a [f32],
    /// `[output]`.
    bias: &'a [f32],
    /// `[output, height, width]`.
    out: *mut f32,
    height: usize,
    width: usize,
    side: usize,
}

// SAFETY: `out` is only written by `rows`, whose caller gives each thread rows of its own.
unsafe impl Sync for Conv<'_> {}

impl Conv<'_> {
    fn run(&self) {
        let threads = rayon::current_num_threads();
        let rows = convolution_rows(self.height, self.padded.width, self.bias.len(), threads);
        (0..self.height.div_ceil(rows))
            .into_par_iter()
            .for_each_init(Vec::new, |scratch, block| {
                let start = block * rows;
                // SAFETY: each block has its own rows of `out`.
                unsafe { self.rows(start, rows.min(self.height - start), scratch) };
            });
    }

    /// Output rows `[start, start + count)` of all channels.
    ///
    /// # Safety
    /// The rows exist, and no other thread computes them.
    unsafe fn rows(&self, start: usize, count: usize, scratch: &mut Vec<f32>) {
        let output = self.bias.len();
        let input = self.padded.channels;
        let plane = self.padded.height * self.padded.width;
        let run = count * self.padded.width;
        scratch.resize(output * run, 0.0);
        let sums = &mut scratch[..output * run];
        for (tap, weights) in self.taps.chunks_exact(output * input).enumerate() {
            let (dy, dx) = (tap / self.side, tap % self.side);
            let shifted = &self.padded.values[(start + dy) * self.padded.width + dx..];
            assert!(shifted.len() >= (input - 1) * plane + run);
            // SAFETY: `sums` is `[output, run]`, `weights` `[output, input]`, and `shifted`
            // holds a run for each input channel, a plane apart, as just asserted.
            unsafe {
                gemm::gemm(
                    output,
                    run,
                    input,
                    sums.as_mut_ptr(),
                    1,
                    run as isize,
                    tap > 0,
                    weights.as_ptr(),
                    1,
                    input as isize,
                    shifted.as_ptr(),
                    1,
                    plane as isize,
                    1.0,
                    1.0,
                    false,
                    false,
                    false,
                    gemm::Parallelism::None,
                );
            }
        }
        for (channel, (sums, bias)) in sums.chunks_exact(run).zip(self.bias).enumerate() {
            for (row, sums) in sums.chunks_exact(self.padded.width).enumerate() {
                let at = (channel * self.height + start + row) * self.width;
                // SAFETY: in bounds, and ours by the caller.
                let out = unsafe { std::slice::from_raw_parts_mut(self.out.add(at), self.width) };
                for (out, sum) in out.iter_mut().zip(sums) {
                    *out = sum + bias;
                }
            }
        }
    }
}
