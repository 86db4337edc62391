//! The alpha of a layer, as a tensor.

use safetensors::Dtype;

use crate::convert::to_f32;

/// A scalar of any number type; `None` for bytes that are not one number.
pub(super) fn scalar(dtype: Dtype, bytes: &[u8]) -> Option<f64> {
    Some(match dtype {
        Dtype::F64 => f64::from_le_bytes(bytes.try_into().ok()?),
        Dtype::I64 => i64::from_le_bytes(bytes.try_into().ok()?) as f64,
        Dtype::U64 => u64::from_le_bytes(bytes.try_into().ok()?) as f64,
        Dtype::I32 => i32::from_le_bytes(bytes.try_into().ok()?).into(),
        Dtype::U32 => u32::from_le_bytes(bytes.try_into().ok()?).into(),
        Dtype::I16 => i16::from_le_bytes(bytes.try_into().ok()?).into(),
        Dtype::U16 => u16::from_le_bytes(bytes.try_into().ok()?).into(),
        Dtype::I8 => i8::from_le_bytes(bytes.try_into().ok()?).into(),
        Dtype::U8 => u8::from_le_bytes(bytes.try_into().ok()?).into(),
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
        assert_eq!(scalar(Dtype::BF16, &bf16), Some(16.0));
        assert_eq!(scalar(Dtype::F16, &f16), Some(16.0));
        assert_eq!(scalar(Dtype::F32, &16f32.to_le_bytes()), Some(16.0));
        assert_eq!(scalar(Dtype::F64, &16f64.to_le_bytes()), Some(16.0));
        assert_eq!(scalar(Dtype::I64, &16i64.to_le_bytes()), Some(16.0));
        assert_eq!(scalar(Dtype::I32, &16i32.to_le_bytes()), Some(16.0));
        assert_eq!(scalar(Dtype::U8, &[16]), Some(16.0));
        assert_eq!(scalar(Dtype::F32, &[0; 8]), None);
        assert_eq!(scalar(Dtype::I64, &[]), None);
        assert_eq!(scalar(Dtype::BOOL, &[1]), None);
    }
}
