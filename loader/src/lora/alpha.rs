//! The alpha of a layer, as a tensor.

use crate::convert::to_f32;
use crate::element::ElementType;

/// A scalar of any number type; `None` for bytes that are not one number.
pub(super) fn scalar(dtype: ElementType, bytes: &[u8]) -> Option<f64> {
    Some(match dtype {
        ElementType::F64 => f64::from_le_bytes(bytes.try_into().ok()?),
        ElementType::I64 => i64::from_le_bytes(bytes.try_into().ok()?) as f64,
        ElementType::U64 => u64::from_le_bytes(bytes.try_into().ok()?) as f64,
        ElementType::I32 => i32::from_le_bytes(bytes.try_into().ok()?).into(),
        ElementType::U32 => u32::from_le_bytes(bytes.try_into().ok()?).into(),
        ElementType::I16 => i16::from_le_bytes(bytes.try_into().ok()?).into(),
        ElementType::U16 => u16::from_le_bytes(bytes.try_into().ok()?).into(),
        ElementType::I8 => i8::from_le_bytes(bytes.try_into().ok()?).into(),
        ElementType::U8 => u8::from_le_bytes(bytes.try_into().ok()?).into(),
        other => match to_f32(other, bytes)?.as_slice() {
            [value] => f64::from(*value),
            _ => return None,
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alpha_is_read_in_any_dtype() {
        let bf16 = half::bf16::from_f32(16.0).to_le_bytes();
        let f16 = half::f16::from_f32(16.0).to_le_bytes();
        assert_eq!(scalar(ElementType::BF16, &bf16), Some(16.0));
        assert_eq!(scalar(ElementType::F16, &f16), Some(16.0));
        assert_eq!(scalar(ElementType::F32, &16f32.to_le_bytes()), Some(16.0));
        assert_eq!(scalar(ElementType::F64, &16f64.to_le_bytes()), Some(16.0));
        assert_eq!(scalar(ElementType::I64, &16i64.to_le_bytes()), Some(16.0));
        assert_eq!(scalar(ElementType::I32, &16i32.to_le_bytes()), Some(16.0));
        assert_eq!(scalar(ElementType::U8, &[16]), Some(16.0));
        assert_eq!(scalar(ElementType::F32, &[0; 8]), None);
        assert_eq!(scalar(ElementType::I64, &[]), None);
        assert_eq!(scalar(ElementType::Bool, &[1]), None);
    }
}
