//! A file of a cache: a safetensors file with `values`, and in its metadata the key and the checksum
//! of the values.

use std::borrow::Cow;
use std::collections::HashMap;

use burn::tensor::{DType, TensorData};
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use sha2::{Digest, Sha256};

const TENSOR: &str = "values";
const KEY: &str = "key";
const CHECKSUM: &str = "sha256";

/// The file's bytes; `None` for values that are no floats.
pub(crate) fn write(values: &TensorData, key: &str) -> Option<Vec<u8>> {
    let dtype = stored(values.dtype)?;
    let bytes = little_endian(values.as_bytes(), values.dtype);
    let metadata = HashMap::from([
        (KEY.to_owned(), key.to_owned()),
        (CHECKSUM.to_owned(), checksum(&bytes)),
    ]);
    let view = TensorView::new(dtype, values.shape.to_vec(), &bytes).ok()?;
    safetensors::serialize([(TENSOR, view)], Some(metadata)).ok()
}

/// The values of a file; `None` unless it is whole, of this key, dtype and shape, and every value
/// is finite.
pub(crate) fn read(file: &[u8], key: &str, dtype: DType, shape: &[usize]) -> Option<TensorData> {
    let (_, header) = SafeTensors::read_metadata(file).ok()?;
    let metadata = header.metadata().as_ref()?;
    let tensors = SafeTensors::deserialize(file).ok()?;
    let tensor = tensors.tensor(TENSOR).ok()?;
    let whole = metadata.get(KEY).is_some_and(|found| found == key)
        && Some(tensor.dtype()) == stored(dtype)
        && tensor.shape() == shape
        && metadata.get(CHECKSUM) == Some(&checksum(tensor.data()));
    let bytes = whole.then(|| little_endian(tensor.data(), dtype))?;
    are_finite(&bytes, dtype)
        .then(|| TensorData::from_bytes_vec(bytes.into_owned(), shape.to_vec(), dtype))
}

/// The file's type of floats in memory.
fn stored(dtype: DType) -> Option<Dtype> {
    match dtype {
        DType::F32 => Some(Dtype::F32),
        DType::F16 => Some(Dtype::F16),
        DType::BF16 => Some(Dtype::BF16),
        _ => None,
    }
}

/// Changes elements between memory's order of bytes and the file's.
fn little_endian(bytes: &[u8], dtype: DType) -> Cow<'_, [u8]> {
    if cfg!(target_endian = "little") {
        return Cow::Borrowed(bytes);
    }
    let elements = bytes.chunks_exact(dtype.size());
    let turned = elements.flat_map(|element| element.iter().rev().copied());
    Cow::Owned(turned.collect())
}

/// Tells whether no element has an exponent of ones, which stands for infinity or no number.
fn are_finite(bytes: &[u8], dtype: DType) -> bool {
    let halves = |exponent: u16| {
        let (halves, _) = bytes.as_chunks::<2>();
        let mut bits = halves.iter().map(|&half| u16::from_ne_bytes(half));
        bits.all(|bits| bits & exponent != exponent)
    };
    match dtype {
        DType::F16 => halves(0x7c00),
        DType::BF16 => halves(0x7f80),
        _ => {
            let (words, _) = bytes.as_chunks::<4>();
            let mut values = words.iter().map(|&word| f32::from_ne_bytes(word));
            values.all(f32::is_finite)
        }
    }
}

fn checksum(bytes: &[u8]) -> String {
    format!("{:x}", Sha256::digest(bytes))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use burn::tensor::{bf16, f16};

    use super::*;

    #[test]
    fn values_come_back_in_their_own_dtype() {
        let values = [1.0f32, -0.0, 0.5, -3.0];
        let of = [
            TensorData::new(values.to_vec(), [2, 2]),
            TensorData::new(values.map(bf16::from_f32).to_vec(), [2, 2]),
            TensorData::new(values.map(f16::from_f32).to_vec(), [2, 2]),
        ];
        for data in &of {
            let file = write(data, "key").unwrap();
            for other in &of {
                let found = read(&file, "key", other.dtype, &[2, 2]);
                assert_eq!(found.is_some(), other.dtype == data.dtype);
                assert!(found.is_none_or(|found| found == *data));
            }
            assert!(read(&file, "other", data.dtype, &[2, 2]).is_none());
            assert!(read(&file, "key", data.dtype, &[4]).is_none());
        }
        let whole = TensorData::new(vec![1i64], [1]);
        assert!(write(&whole, "key").is_none());
    }

    #[test]
    fn what_is_not_finite_is_none_in_every_dtype() {
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let values = [1.0, bad];
            for data in [
                TensorData::new(values.to_vec(), [2]),
                TensorData::new(values.map(bf16::from_f32).to_vec(), [2]),
                TensorData::new(values.map(f16::from_f32).to_vec(), [2]),
            ] {
                let file = write(&data, "key").unwrap();
                assert!(read(&file, "key", data.dtype, &[2]).is_none(), "{data:?}");
            }
        }
    }
}
