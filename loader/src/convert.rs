//! Elements of any supported dtype as f32.

use crate::element::ElementType;

/// Tells whether [`to_f32`] reads a dtype.
pub(crate) fn is_supported(dtype: ElementType) -> bool {
    dtype.fp8_format().is_some()
        || matches!(
            dtype,
            ElementType::BF16 | ElementType::F16 | ElementType::F32 | ElementType::F64
        )
}

/// Decodes little-endian elements, exactly but for F64, which is rounded.
///
/// `None` for a dtype that is not [supported](is_supported).
pub(crate) fn to_f32(dtype: ElementType, bytes: &[u8]) -> Option<Vec<f32>> {
    if let Some(format) = dtype.fp8_format() {
        let table = format.table();
        return Some(bytes.iter().map(|&code| table[usize::from(code)]).collect());
    }
    Some(match dtype {
        ElementType::BF16 => elements(bytes, |b| half::bf16::from_le_bytes(b).to_f32()),
        ElementType::F16 => elements(bytes, |b| half::f16::from_le_bytes(b).to_f32()),
        ElementType::F32 => elements(bytes, f32::from_le_bytes),
        ElementType::F64 => elements(bytes, |b| f64::from_le_bytes(b) as f32),
        _ => return None,
    })
}

fn elements<const N: usize>(bytes: &[u8], decode: impl Fn([u8; N]) -> f32) -> Vec<f32> {
    let (chunks, _) = bytes.as_chunks::<N>();
    chunks.iter().map(|&chunk| decode(chunk)).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn each_dtype_decodes() {
        let bf16 = half::bf16::from_f32(-1.5).to_le_bytes();
        assert_eq!(to_f32(ElementType::BF16, &bf16).unwrap(), [-1.5]);
        let f16 = half::f16::from_f32(0.25).to_le_bytes();
        assert_eq!(to_f32(ElementType::F16, &f16).unwrap(), [0.25]);
        assert_eq!(
            to_f32(ElementType::F32, &3.5f32.to_le_bytes()).unwrap(),
            [3.5]
        );
        assert_eq!(
            to_f32(ElementType::F64, &3.5f64.to_le_bytes()).unwrap(),
            [3.5]
        );
        // 1.0 and -2.0: sign 1, exponent 4 or 5, mantissa 3 or 2 bits.
        assert_eq!(
            to_f32(ElementType::F8E4M3, &[0x38, 0xc0]).unwrap(),
            [1.0, -2.0]
        );
        assert_eq!(
            to_f32(ElementType::F8E5M2, &[0x3c, 0xc0]).unwrap(),
            [1.0, -2.0]
        );
    }

    #[test]
    fn what_is_supported_is_what_decodes() {
        for dtype in [
            ElementType::Bool,
            ElementType::F4,
            ElementType::U8,
            ElementType::I8,
            ElementType::F8E4M3,
            ElementType::F8E5M2,
            ElementType::F8E8M0,
            ElementType::F8E4M3Fnuz,
            ElementType::F16,
            ElementType::BF16,
            ElementType::F32,
            ElementType::F64,
            ElementType::I64,
        ] {
            assert_eq!(is_supported(dtype), to_f32(dtype, &[]).is_some(), "{dtype}");
        }
    }
}
