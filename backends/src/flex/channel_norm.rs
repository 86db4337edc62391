//! Normalisation of channels on the CPU, where a pixel's channels lie far apart: a strip of
//! pixels at a time, plane by plane.

use burn::tensor::{Bytes, DType, Tensor};
use burn_flex::{Flex, FlexTensor, Layout};
use pulp::{Arch, NullaryFnOnce};
use rayon::prelude::*;

use super::tensor::{in_dtype, raw, to_f32, typed};
use super::vector_math::silu;
use crate::kernels::ChannelNorm;

/// Most pixels in a strip. Long runs are needed: planes lie a power of two bytes apart, and a
/// cache holds few lines of such addresses.
const STRIP: usize = 4 << 10;

pub(super) fn channel_norm(call: ChannelNorm<Flex>) -> Tensor<Flex, 4> {
    let ChannelNorm { x, gamma, silu } = call;
    let dtype = x.dtype();
    let (x, gamma) = (to_f32(raw(x)), to_f32(raw(gamma)));
    let [batch, channels, height, width] = x.layout().shape().dims();
    let pixels = height * width;
    let values = x.storage::<f32>();
    let mut out = vec![0.0f32; values.len()];
    let planes = Planes(out.as_mut_ptr());
    let threads = rayon::current_num_threads();
    let strip = STRIP.min(pixels.div_ceil(threads)).max(1);
    let strips = pixels.div_ceil(strip);
    (0..batch * strips).into_par_iter().for_each(|task| {
        let start = task % strips * strip;
        Arch::new().dispatch(Strip {
            values,
            gamma: gamma.storage(),
            planes: &planes,
            image: task / strips * channels * pixels,
            pixels,
            start,
            count: strip.min(pixels - start),
            silu,
        });
    });
    let layout = Layout::contiguous(x.layout().shape().clone());
    let out = FlexTensor::new(Bytes::from_elems(out), layout, DType::F32);
    typed(in_dtype(out, dtype))
}

/// Planes of an output that threads fill strip by strip.
struct Planes(*mut f32);

// SAFETY: the only method is unsafe and asks its callers for disjoint strips.
unsafe impl Sync for Planes {}

impl Planes {
    /// # Safety
    /// The strip is in bounds, and no other thread holds a part of it.
    #[allow(clippy::mut_from_ref)] // Disjointness is the caller's promise.
    unsafe fn slice(&self, start: usize, count: usize) -> &mut [f32] {
        // SAFETY: by the caller.
        unsafe { std::slice::from_raw_parts_mut(self.0.add(start), count) }
    }
}

/// Pixels `[start, start + count)` of one image. Strips that run at the same time do not
/// overlap.
struct Strip<'a> {
    /// `[batch, channels, pixels]`.
    values: &'a [f32],
    /// `[channels]`.
    gamma: &'a [f32],
    planes: &'a Planes,
    /// The index of the image's first element.
    image: usize,
    pixels: usize,
    start: usize,
    count: usize,
    silu: bool,
}

impl NullaryFnOnce for Strip<'_> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let channels = self.gamma.len();
        let plane = |channel: usize| self.image + channel * self.pixels + self.start;
        let mut inverse = vec![0.0f32; self.count];
        for channel in 0..channels {
            let values = &self.values[plane(channel)..plane(channel) + self.count];
            for (sum, v) in inverse.iter_mut().zip(values) {
                *sum += v * v;
            }
        }
        let gain = (channels as f32).sqrt();
        for sum in &mut inverse {
            *sum = gain / sum.sqrt().max(1e-12);
        }
        for (channel, gamma) in self.gamma.iter().enumerate() {
            let values = &self.values[plane(channel)..plane(channel) + self.count];
            // SAFETY: in bounds as the input is, and strips do not overlap.
            let out = unsafe { self.planes.slice(plane(channel), self.count) };
            let pixels = out.iter_mut().zip(values).zip(&inverse);
            if self.silu {
                for ((out, v), inverse) in pixels {
                    *out = silu(v * inverse * gamma);
                }
            } else {
                for ((out, v), inverse) in pixels {
                    *out = v * inverse * gamma;
                }
            }
        }
    }
}
