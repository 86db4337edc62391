//! Activations quantized to E4M3, each token by a scale of its own.

use burn::tensor::backend::Backend;
use burn::tensor::{FloatDType, Tensor, TensorPrimitive};

use crate::kernels::{Kernels, QuantizeRows, QuantizedRows};

/// The largest E4M3 number.
const LARGEST: f32 = 448.0;
/// The largest magnitude of a row that counts as one of zeros.
const LEAST: f32 = 1e-30;
/// The exponent of the smallest normal E4M3 number; smaller ones lie as far apart as its neighbours.
const SMALLEST_EXPONENT: f32 = -6.0;
const MANTISSA_BITS: f32 = 3.0;

/// Computes [`QuantizeRows`] by the backend's kernel, or else by Burn's own operations.
pub(crate) fn quantize_rows<B: Kernels>(x: Tensor<B, 2>) -> QuantizedRows<B> {
    B::quantize_rows(QuantizeRows { x }).unwrap_or_else(portable)
}

/// Computes [`QuantizeRows`]: numbers of the format, in `x`'s own dtype, and scales f32 `[rows, 1]`.
fn portable<B: Backend>(call: QuantizeRows<B>) -> QuantizedRows<B> {
    let dtype: FloatDType = call.x.dtype().into();
    let x = call.x.cast(FloatDType::F32);
    let scales = scales(x.clone());
    let values = to_e4m3(x / scales.clone()).cast(dtype);
    QuantizedRows {
        values: values.into_primitive().tensor(),
        scales: scales.into_primitive().tensor(),
        dtype,
    }
}

/// Multiplies numbers, float `[rows, channels]`, with their scales, f32 `[rows, 1]`. Returns float
/// `[rows, channels]` in the dtype that the rows had.
pub(crate) fn scaled_rows<B: Backend>(rows: QuantizedRows<B>) -> Tensor<B, 2> {
    let [values, scales] = [rows.values, rows.scales]
        .map(|primitive| Tensor::<B, 2>::from_primitive(TensorPrimitive::Float(primitive)));
    (values.cast(FloatDType::F32) * scales).cast(rows.dtype)
}

/// The scale of each row of f32 `[rows, in]`, as f32 `[rows, 1]`: 1 for a row of (nearly) zeros.
fn scales<B: Backend>(x: Tensor<B, 2>) -> Tensor<B, 2> {
    let largest = x.abs().max_dim(1);
    let empty = largest.clone().lower_elem(LEAST);
    (largest / LARGEST).mask_fill(empty, 1.0)
}

/// The E4M3 number nearest to each element. No element may be larger than the format's largest.
fn to_e4m3<B: Backend>(x: Tensor<B, 2>) -> Tensor<B, 2> {
    let exponent = (x.clone().abs().log() / std::f32::consts::LN_2).floor();
    let exponent = exponent.clamp_min(SMALLEST_EXPONENT);
    // Where the logarithm of a number just below a power of two is rounded up to it, the step is
    // twice too large, and the nearest multiple is that power all the same.
    let step = ((exponent - MANTISSA_BITS) * std::f32::consts::LN_2).exp();
    (x / step.clone()).round() * step
}

#[cfg(all(test, feature = "flex"))]
mod tests {
    use burn::tensor::TensorData;
    use burn_flex::Flex;

    use super::*;
    use crate::fp8::Fp8Format;

    fn row(values: Vec<f32>) -> Tensor<Flex, 2> {
        let shape = [1, values.len()];
        Tensor::from_data(TensorData::new(values, shape), &Default::default())
    }

    /// The nearest number of the format, ties to the even code, by trying all of them.
    fn nearest(value: f32) -> f32 {
        let codes = (0..=255u8).filter(|&code| Fp8Format::E4M3.decode(code).is_finite());
        let distance = |code: &u8| (Fp8Format::E4M3.decode(*code) - value).abs();
        let nearest = codes.min_by(|a, b| {
            let nearer = distance(a).total_cmp(&distance(b));
            nearer.then((a & 1).cmp(&(b & 1)))
        });
        nearest.map_or(0.0, |code| Fp8Format::E4M3.decode(code))
    }

    #[test]
    fn every_number_becomes_the_nearest_of_the_format() {
        let mut values: Vec<f32> = (0..=255u8)
            .map(|code| Fp8Format::E4M3.decode(code))
            .filter(|value| value.is_finite())
            .collect();
        // Between neighbours, on either side of the middle, and around powers of two.
        let more: Vec<f32> = values
            .iter()
            .flat_map(|value| {
                [
                    value * 1.01,
                    value * 0.94,
                    value * (1.0 - 1e-6),
                    value * 1.07,
                ]
            })
            .filter(|value| value.abs() <= LARGEST)
            .collect();
        values.extend(more);
        values.extend([
            0.0,
            1e-6,
            2f32.powi(-10),
            3.0 * 2f32.powi(-10),
            17.0,
            19.0,
            21.0,
        ]);
        let quantized: Vec<f32> = to_e4m3(row(values.clone())).into_data().iter().collect();
        for (value, quantized) in values.iter().zip(quantized) {
            let expected = nearest(*value);
            assert!(
                (quantized - expected).abs() <= 1e-5 * expected.abs(),
                "{value}: {quantized} instead of {expected}"
            );
        }
    }

    #[test]
    fn a_row_fills_the_format_and_one_of_zeros_stays() {
        let largest = |x| scales(x).into_data().iter::<f32>().collect::<Vec<_>>();
        assert_eq!(largest(row(vec![1.0, -896.0])), [2.0]);
        assert_eq!(largest(row(vec![0.0, 0.0])), [1.0]);
        assert_eq!(largest(row(vec![1e-37, 0.0])), [1.0]);
    }
}
