//! Numbers in a checkpoint that are not finite: the reason for results that are not.

use backends::fp8::Fp8Format;

use crate::checkpoint::Entry;
use crate::element::ElementType;
use crate::error::LoadError;
use crate::source::Source;
use crate::text::Excerpt;
use crate::weights::Weights;

/// Bytes that are looked at in one piece; a multiple of all elements' sizes.
const PIECE: u64 = 8 << 20;

/// Looks through all tensors that a component uses for one with NaN or infinity. This reads the
/// whole checkpoint: it is for a computation that has gone wrong already.
///
/// # Errors
/// [`LoadError::NotFinite`] names the first such tensor; files that cannot be read.
pub fn find_not_finite(weights: &Weights) -> Result<(), LoadError> {
    let source = Source::open(weights.checkpoint().files())?;
    let mut entries: Vec<&Entry> = weights.used().collect();
    entries.sort_by_key(|entry| (entry.file, entry.tensor.range.start));
    for entry in entries {
        if !all_finite(&source, entry)? {
            return Err(LoadError::NotFinite {
                file: weights.checkpoint().files()[entry.file].path.clone(),
                component: weights.component(),
                key: Excerpt::new(&entry.tensor.key),
            });
        }
    }
    Ok(())
}

fn all_finite(source: &Source, entry: &Entry) -> Result<bool, LoadError> {
    let range = entry.tensor.range.clone();
    let mut start = range.start;
    while start < range.end {
        let end = range.end.min(start + PIECE);
        let mut piece = entry.clone();
        piece.tensor.range = start..end;
        if !finite(entry.tensor.dtype, &source.read(&piece)?) {
            return Ok(false);
        }
        start = end;
    }
    Ok(true)
}

/// Tells whether all elements are finite; those of other dtypes than floats are.
fn finite(dtype: ElementType, bytes: &[u8]) -> bool {
    if let Some(format) = dtype.fp8_format() {
        let finite = finite_codes(format);
        return bytes.iter().all(|&code| finite[usize::from(code)]);
    }
    match dtype {
        ElementType::BF16 => has_no(bytes, 0x7f80_u16, u16::from_le_bytes),
        ElementType::F16 => has_no(bytes, 0x7c00_u16, u16::from_le_bytes),
        ElementType::F32 => has_no(bytes, 0x7f80_0000_u32, u32::from_le_bytes),
        ElementType::F64 => has_no(bytes, 0x7ff0_0000_0000_0000_u64, u64::from_le_bytes),
        _ => true,
    }
}

/// Tells whether no element has the exponent of NaN and infinity, all of whose bits are set.
fn has_no<const N: usize, U>(bytes: &[u8], exponent: U, read: fn([u8; N]) -> U) -> bool
where
    U: Copy + PartialEq + std::ops::BitAnd<Output = U>,
{
    let (elements, _) = bytes.as_chunks::<N>();
    elements
        .iter()
        .all(|&element| read(element) & exponent != exponent)
}

fn finite_codes(format: Fp8Format) -> [bool; 256] {
    let table = format.table();
    std::array::from_fn(|code| table[code].is_finite())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_dtype_shows_nan_and_infinity() {
        let bytes = |dtype, value: f32| match dtype {
            ElementType::BF16 => half::bf16::from_f32(value).to_le_bytes().to_vec(),
            ElementType::F16 => half::f16::from_f32(value).to_le_bytes().to_vec(),
            ElementType::F32 => value.to_le_bytes().to_vec(),
            _ => f64::from(value).to_le_bytes().to_vec(),
        };
        for dtype in [
            ElementType::BF16,
            ElementType::F16,
            ElementType::F32,
            ElementType::F64,
        ] {
            let sound = [0.0, -1.5, 6e4].map(|value| bytes(dtype, value)).concat();
            assert!(finite(dtype, &sound), "{dtype}");
            for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
                let damaged = [sound.clone(), bytes(dtype, bad)].concat();
                assert!(!finite(dtype, &damaged), "{dtype}");
            }
        }
        assert!(finite(ElementType::F8E4M3, &[0x00, 0x7e, 0xfe, 0x80]));
        assert!(!finite(ElementType::F8E4M3, &[0x00, 0x7f]));
        assert!(!finite(ElementType::F8E4M3, &[0xff]));
        assert!(finite(ElementType::F8E5M2, &[0x7b, 0xfb]));
        for code in 0x7c..=0x7f {
            assert!(
                !finite(ElementType::F8E5M2, &[code])
                    && !finite(ElementType::F8E5M2, &[code | 0x80])
            );
        }
    }
}
