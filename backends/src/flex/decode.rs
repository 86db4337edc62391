//! Weight elements to `f32` on the CPU, a tile at a time.

use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};

use crate::fp8::Fp8Format;

/// Decodes FP8 codes into `values`, exactly; both slices have one length.
pub(super) fn decode_fp8(codes: &[u8], values: &mut [f32], format: Fp8Format) {
    assert_eq!(codes.len(), values.len());
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("f16c") {
        // SAFETY: the features that the functions are compiled for were just detected.
        unsafe {
            match format {
                Fp8Format::E4M3 => x86::decode_e4m3(codes, values),
                Fp8Format::E5M2 => x86::decode_e5m2(codes, values),
            }
        }
        return;
    }
    decode_by_table(codes, values, format);
}

fn decode_by_table(codes: &[u8], values: &mut [f32], format: Fp8Format) {
    let table = format.table();
    for (value, &code) in values.iter_mut().zip(codes) {
        *value = table[usize::from(code)];
    }
}

/// Widens BF16 elements into `values`; both slices have one length.
pub(super) fn decode_bf16(elements: &[bf16], values: &mut [f32]) {
    assert_eq!(elements.len(), values.len());
    // A BF16 is the upper half of an f32. As a loop over bits this runs in vector lanes.
    for (value, element) in values.iter_mut().zip(elements) {
        *value = f32::from_bits(u32::from(element.to_bits()) << 16);
    }
}

/// Widens F16 elements into `values`; both slices have one length.
pub(super) fn decode_f16(elements: &[f16], values: &mut [f32]) {
    elements.convert_to_f32_slice(values);
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::*;

    use super::{Fp8Format, decode_by_table};

    /// Codes a step: one 256-bit register of 16-bit lanes.
    const LANES: usize = 16;

    /// Bytes between what is decoded and what is fetched from memory meanwhile.
    const AHEAD: usize = 2048;

    /// An E4M3 code shifted into an F16's fields is its value times 2^-8, subnormals included,
    /// and the F16C conversion takes subnormals at full speed. Only NaN needs care.
    #[target_feature(enable = "avx2,f16c")]
    pub(super) fn decode_e4m3(codes: &[u8], values: &mut [f32]) {
        let magnitude = _mm256_set1_epi16(0x7f);
        let rescale = _mm256_set1_ps(256.0);
        let steps = codes.len() / LANES;
        for step in 0..steps {
            // SAFETY: `step` counts whole groups of LANES codes, and `values` is as long.
            unsafe {
                let lanes = load(codes, step);
                let bits = _mm256_and_si256(lanes, magnitude);
                let nan = _mm256_cmpeq_epi16(bits, magnitude);
                let sign = _mm256_slli_epi16::<8>(_mm256_andnot_si256(magnitude, lanes));
                let half = _mm256_or_si256(_mm256_slli_epi16::<7>(bits), sign);
                // All ones in the exponent and mantissa is NaN; the sign stays the code's.
                let half = _mm256_or_si256(half, _mm256_srli_epi16::<1>(nan));
                let (low, high) = widen(half);
                store(
                    values,
                    step,
                    _mm256_mul_ps(low, rescale),
                    _mm256_mul_ps(high, rescale),
                );
            }
        }
        let done = steps * LANES;
        decode_by_table(&codes[done..], &mut values[done..], Fp8Format::E4M3);
    }

    /// An E5M2 code is the upper byte of an F16.
    #[target_feature(enable = "avx2,f16c")]
    pub(super) fn decode_e5m2(codes: &[u8], values: &mut [f32]) {
        let steps = codes.len() / LANES;
        for step in 0..steps {
            // SAFETY: `step` counts whole groups of LANES codes, and `values` is as long.
            unsafe {
                let (low, high) = widen(_mm256_slli_epi16::<8>(load(codes, step)));
                store(values, step, low, high);
            }
        }
        let done = steps * LANES;
        decode_by_table(&codes[done..], &mut values[done..], Fp8Format::E5M2);
    }

    /// Group `step` of the codes, zero-extended to 16 bits.
    ///
    /// # Safety
    /// `codes` holds at least `step + 1` groups.
    #[inline]
    #[target_feature(enable = "avx2,f16c")]
    unsafe fn load(codes: &[u8], step: usize) -> __m256i {
        // SAFETY: in bounds by the caller; the load needs no alignment, and a prefetch may name
        // any address.
        unsafe {
            _mm_prefetch::<_MM_HINT_T0>(codes.as_ptr().wrapping_add(step * LANES + AHEAD).cast());
            _mm256_cvtepu8_epi16(_mm_loadu_si128(codes.as_ptr().add(step * LANES).cast()))
        }
    }

    /// Sixteen F16 lanes as two registers of f32.
    #[inline]
    #[target_feature(enable = "avx2,f16c")]
    fn widen(half: __m256i) -> (__m256, __m256) {
        (
            _mm256_cvtph_ps(_mm256_castsi256_si128(half)),
            _mm256_cvtph_ps(_mm256_extracti128_si256::<1>(half)),
        )
    }

    /// Writes group `step` of the values.
    ///
    /// # Safety
    /// `values` holds at least `step + 1` groups.
    #[inline]
    #[target_feature(enable = "avx2,f16c")]
    unsafe fn store(values: &mut [f32], step: usize, low: __m256, high: __m256) {
        // SAFETY: in bounds by the caller; the stores need no alignment.
        unsafe {
            let out = values.as_mut_ptr().add(step * LANES);
            _mm256_storeu_ps(out, low);
            _mm256_storeu_ps(out.add(LANES / 2), high);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_decodes_as_the_table_says_at_every_alignment() {
        for format in [Fp8Format::E4M3, Fp8Format::E5M2] {
            let codes: Vec<u8> = (0..=255).cycle().take(600).collect();
            for start in 0..17 {
                let codes = &codes[start..];
                let mut values = vec![0.0; codes.len()];
                decode_fp8(codes, &mut values, format);
                for (&code, &value) in codes.iter().zip(&values) {
                    let expected = format.table()[usize::from(code)];
                    assert!(
                        value.to_bits() == expected.to_bits()
                            || (value.is_nan() && expected.is_nan()),
                        "{format:?} {code:#04x}: {value} != {expected}"
                    );
                }
            }
        }
    }
}
