//! What is in a slot, and what is computed with it.

use backends::upload::{MemoryId, SLOT_ALIGNMENT};
use backends::{
    Activation, Arithmetic, Fp8Format, ModelBackend, PackedFormat, PackedWeight, Slots,
    UploadError, Weight,
};
use burn::module::Param;
use burn::tensor::{DType, FloatDType, Tensor, TensorData, TensorPrimitive};

/// Rows and columns of the two FP8 weights and of the bf16 weight, in this order.
const SIZES: [[usize; 2]; 3] = [[3072, 3072], [12288, 3072], [2048, 3072]];
/// Where they begin, and past the last one.
const PLACES: [usize; 4] = {
    let mut places = [0; 4];
    let mut i = 0;
    while i < 3 {
        let element = if i == 2 { 2 } else { 1 };
        let end = places[i] + SIZES[i][0] * SIZES[i][1] * element;
        places[i + 1] = end.next_multiple_of(SLOT_ALIGNMENT);
        i += 1;
    }
    places
};
/// Bytes of a slot.
pub(crate) const SLOT: usize = PLACES[3];
/// Contents that slots have in turn. No number of slots divides it, so that a slot has other
/// contents at each refill.
pub(crate) const PATTERNS: usize = 5;

/// The byte `at` of a slot of these contents: no NaN of either format.
pub(crate) fn byte(pattern: usize, at: usize) -> u8 {
    let mixed = (at as u32)
        .wrapping_mul(0x9e37_79b1)
        .wrapping_add((pattern as u32 + 1).wrapping_mul(0x85eb_ca6b));
    let mixed = (mixed >> 13) as u8;
    // A high byte of bf16 from 0x3c on is of a small number; so are the codes up to 0x3f.
    (mixed & 0x83) | 0x3c
}

/// The weights that a slot shows.
pub(crate) struct Lent<B: ModelBackend> {
    short: Weight<B>,
    long: Weight<B>,
    floats: Tensor<B, 2>,
}

impl<B: ModelBackend> Lent<B> {
    /// Lends a slot's weights.
    pub(crate) fn new(
        device: &B::Device,
        slots: &impl Slots<B>,
        memory: MemoryId,
    ) -> Result<Self, UploadError> {
        let packed = |i: usize| -> Result<Weight<B>, UploadError> {
            let bytes = Tensor::from_primitive(slots.codes_in(memory, PLACES[i], &SIZES[i])?);
            Ok(Weight::Packed(PackedWeight {
                bytes: Param::initialized(Default::default(), bytes),
                scale: Param::from_tensor(Tensor::from_floats([0.01], device)),
                format: PackedFormat::Fp8(Fp8Format::E4M3),
                arithmetic: Arithmetic::Exact,
            }))
        };
        let floats = slots.floats_in(memory, PLACES[2], &SIZES[2], DType::BF16)?;
        Ok(Self {
            short: packed(0)?,
            long: packed(1)?,
            floats: Tensor::from_primitive(TensorPrimitive::Float(floats)),
        })
    }
}

/// Work with the weights of a slot.
pub(crate) struct Work<B: ModelBackend> {
    short: Tensor<B, 2>,
    long: Tensor<B, 2>,
    repeats: usize,
}

impl<B: ModelBackend> Work<B> {
    /// Products with so many rows, and so many times.
    pub(crate) fn new(device: &B::Device, rows: usize, repeats: usize) -> Self {
        let input = |rows: usize| {
            let values = (0..rows * SIZES[0][1]).map(|i| ((i * 37 % 61) as f32 - 30.0) / 30.0);
            let data = TensorData::new(values.collect::<Vec<f32>>(), [rows, SIZES[0][1]]);
            Tensor::<B, 2>::from_data(data, (device, DType::F32)).cast(FloatDType::BF16)
        };
        Self {
            short: input(rows.div_ceil(8)),
            long: input(rows),
            repeats,
        }
    }

    /// Sums of products by our kernels, at the same time on both streams, and of the bf16 weight by
    /// Burn's.
    pub(crate) fn on(&self, lent: Lent<B>) -> Tensor<B, 1> {
        let mut sums = Vec::new();
        for _ in 0..self.repeats {
            let (short, long) = B::concurrently(
                || linear(&lent.short, &self.short),
                || linear(&lent.long, &self.long),
            );
            sums.extend([sum(short), sum(long)]);
        }
        sums.push(sum(lent.floats));
        Tensor::cat(sums, 0)
    }
}

fn linear<B: ModelBackend>(weight: &Weight<B>, x: &Tensor<B, 2>) -> Tensor<B, 2> {
    weight.linear(x.clone(), None, None, Activation::None)
}

/// Sums of the columns, f32.
fn sum<B: ModelBackend>(x: Tensor<B, 2>) -> Tensor<B, 1> {
    x.cast(FloatDType::F32).sum_dim(0).flatten(0, 1)
}

/// The values of a result. NaNs are told from all numbers, and are equal to nothing.
pub(crate) fn values<B: ModelBackend>(sums: Tensor<B, 1>) -> Vec<f32> {
    sums.into_data().iter().collect()
}
