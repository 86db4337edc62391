//! Weight elements of 8 or 16 bits to floats, out of the 32-bit words that they lie in.
//!
//! WebGPU's shading language has no smaller type, and bf16 is rare among GPUs. The weights stay
//! as narrow as in their file; only what is about to be multiplied is widened.

use std::ops::Range;

use burn::tensor::{DType, FloatDType};
use burn_cubecl::CubeRuntime;
use burn_cubecl::cubecl;
use burn_cubecl::cubecl::prelude::*;
use burn_cubecl::kernel::into_contiguous;
use burn_cubecl::tensor::CubeTensor;

use crate::fp8::Fp8Format;

/// Threads of a group.
const GROUP: u32 = 256;

/// A float format narrower than 32 bits: a sign, an exponent and a mantissa, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Narrow {
    /// Bits of an element: 8 or 16.
    bits: u32,
    /// Bits of its mantissa.
    mantissa: u32,
    /// The bias of its exponent.
    bias: u32,
    /// If true, the highest exponent means infinity and NaN, as in IEEE 754; else only the code
    /// of all ones is NaN.
    ieee: bool,
}

impl Narrow {
    /// The format of FP8 codes.
    pub(super) const fn of_codes(format: Fp8Format) -> Self {
        match format {
            Fp8Format::E4M3 => Self::new(8, 3, 7, false),
            Fp8Format::E5M2 => Self::new(8, 2, 15, true),
        }
    }

    /// The format of a tensor's elements; `None` if they are not 16 bits wide.
    pub(super) const fn of_floats(dtype: DType) -> Option<Self> {
        match dtype {
            DType::BF16 => Some(Self::new(16, 7, 127, true)),
            DType::F16 => Some(Self::new(16, 10, 15, true)),
            _ => None,
        }
    }

    const fn new(bits: u32, mantissa: u32, bias: u32, ieee: bool) -> Self {
        Self {
            bits,
            mantissa,
            bias,
            ieee,
        }
    }

    const fn per_word(self) -> usize {
        (32 / self.bits) as usize
    }

    /// All bits but the sign.
    const fn magnitude_mask(self) -> u32 {
        (1 << (self.bits - 1)) - 1
    }

    const fn mantissa_mask(self) -> u32 {
        (1 << self.mantissa) - 1
    }

    /// The smallest magnitude of a code that is infinity or NaN.
    const fn first_special(self) -> u32 {
        if self.ieee {
            self.magnitude_mask() - self.mantissa_mask()
        } else {
            self.magnitude_mask()
        }
    }

    /// The number that is added to the bits of a shifted exponent to give that of `f32`.
    const fn rebias(self) -> u32 {
        (127 - self.bias) << 23
    }

    /// The value of the lowest bit of a number without an exponent, which `f32` must hold as a
    /// normal number; `None` where `f32` has the same exponents.
    fn least(self) -> Option<f32> {
        let exponent = 1 - self.bias as i32 - self.mantissa as i32;
        (self.bias != 127).then(|| 2f32.powi(exponent))
    }
}

/// The `index`th element of the format's elements in `words`.
#[cube]
fn element(words: &Array<u32>, index: usize, #[comptime] narrow: Narrow) -> f32 {
    let per_word = comptime!(narrow.per_word());
    let place = u32::cast_from(index % per_word) * comptime!(narrow.bits);
    let code = words[index / per_word] >> place;
    let magnitude = code & comptime!(narrow.magnitude_mask());
    let negative = (code >> comptime!(narrow.bits - 1)) & 1;
    let wide = magnitude << comptime!(23 - narrow.mantissa);
    let mut bits = wide + comptime!(narrow.rebias());
    if comptime!(narrow.least().is_some()) {
        let least = comptime!(narrow.least().unwrap_or_default()).runtime();
        if magnitude <= comptime!(narrow.mantissa_mask()) {
            bits = u32::reinterpret(f32::cast_from(magnitude) * least);
        }
    }
    if magnitude >= comptime!(narrow.first_special()) {
        bits = wide | 0x7f80_0000;
    }
    f32::reinterpret(bits | (negative << 31))
}

/// `values[i] = element(first + i)`.
#[cube(launch_unchecked)]
fn decode_range<F: Float>(
    words: &Array<u32>,
    values: &mut Array<F>,
    first: usize,
    #[comptime] narrow: Narrow,
    #[define(F)] _dtype: StorageType,
) {
    if ABSOLUTE_POS < values.len() {
        values[ABSOLUTE_POS] = F::cast_from(element(words, first + ABSOLUTE_POS, narrow));
    }
}

/// `values[i, j] = element(rows[i], j)` for rows of `width` elements.
#[cube(launch_unchecked)]
fn decode_rows<F: Float>(
    words: &Array<u32>,
    rows: &Array<i32>,
    values: &mut Array<F>,
    width: usize,
    #[comptime] narrow: Narrow,
    #[define(F)] _dtype: StorageType,
) {
    if ABSOLUTE_POS < values.len() {
        let row = usize::cast_from(rows[ABSOLUTE_POS / width]);
        let index = row * width + ABSOLUTE_POS % width;
        values[ABSOLUTE_POS] = F::cast_from(element(words, index, narrow));
    }
}

/// Some rows of `[rows, width]` narrow elements, as floats of the same shape.
pub(super) fn range<R: CubeRuntime>(
    weight: CubeTensor<R>,
    rows: Range<usize>,
    narrow: Narrow,
    dtype: FloatDType,
) -> CubeTensor<R> {
    let width = weight.meta.shape()[1];
    let first = rows.start * width;
    let weight = into_contiguous(weight);
    let values = empty(&weight, rows.len(), dtype);
    let count = rows.len() * width;
    if count == 0 {
        return values;
    }
    let client = weight.client.clone();
    // SAFETY: the kernel keeps to the values, and `rows` to the weight.
    unsafe {
        decode_range::launch_unchecked::<R>(
            &client,
            groups(&client, count),
            CubeDim::new_1d(GROUP),
            words(weight, narrow),
            ArrayArg::from_raw_parts(values.handle.clone(), count),
            first,
            narrow,
            values.dtype.into(),
        );
    }
    values
}

/// The rows of `[rows, width]` narrow elements that `indices` (i32 `[n]`) name, as floats
/// `[n, width]`.
pub(super) fn rows<R: CubeRuntime>(
    weight: CubeTensor<R>,
    indices: CubeTensor<R>,
    narrow: Narrow,
    dtype: FloatDType,
) -> CubeTensor<R> {
    let [width, named] = [weight.meta.shape()[1], indices.meta.shape()[0]];
    let [weight, indices] = [weight, indices].map(into_contiguous);
    let values = empty(&weight, named, dtype);
    let count = named * width;
    if count == 0 {
        return values;
    }
    let client = weight.client.clone();
    // SAFETY: the kernel keeps to the values; it is for the caller that the rows are there.
    unsafe {
        decode_rows::launch_unchecked::<R>(
            &client,
            groups(&client, count),
            CubeDim::new_1d(GROUP),
            words(weight, narrow),
            ArrayArg::from_raw_parts(indices.handle, named),
            ArrayArg::from_raw_parts(values.handle.clone(), count),
            width,
            narrow,
            values.dtype.into(),
        );
    }
    values
}

/// Memory for `rows` decoded rows of a weight, one right after the other.
fn empty<R: CubeRuntime>(weight: &CubeTensor<R>, rows: usize, dtype: FloatDType) -> CubeTensor<R> {
    let dtype = DType::from(dtype);
    let shape = [rows, weight.meta.shape()[1]];
    CubeTensor::new_contiguous(
        weight.client.clone(),
        weight.device.clone(),
        shape.into(),
        weight.client.empty(shape[0] * shape[1] * dtype.size()),
        dtype,
    )
}

/// A contiguous tensor's memory in words. A device's memory comes in whole words, so that the
/// last one is there even where the tensor ends within it.
fn words<R: CubeRuntime>(tensor: CubeTensor<R>, narrow: Narrow) -> ArrayArg<R> {
    let count = tensor.meta.num_elements().div_ceil(narrow.per_word());
    // SAFETY: the length is that of the memory.
    unsafe { ArrayArg::from_raw_parts(tensor.handle, count) }
}

fn groups<R: CubeRuntime>(client: &ComputeClient<R>, elements: usize) -> CubeCount {
    cubecl::calculate_cube_count_elemwise(client, elements, CubeDim::new_1d(GROUP))
}
