//! A file of a cache: a safetensors file with `values`, F32, and in its metadata the key and the
//! checksum of the values.

use std::collections::HashMap;

use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use sha2::{Digest, Sha256};

const TENSOR: &str = "values";
const KEY: &str = "key";
const CHECKSUM: &str = "sha256";

/// The file's bytes; `None` for a shape that is not the values'.
pub(crate) fn write(values: &[f32], shape: &[usize], key: &str) -> Option<Vec<u8>> {
    let bytes: Vec<u8> = values
        .iter()
        .flat_map(|value| value.to_le_bytes())
        .collect();
    let metadata = HashMap::from([
        (KEY.to_owned(), key.to_owned()),
        (CHECKSUM.to_owned(), checksum(&bytes)),
    ]);
    let view = TensorView::new(Dtype::F32, shape.to_vec(), &bytes).ok()?;
    safetensors::serialize([(TENSOR, view)], Some(metadata)).ok()
}

/// The values of a file; `None` unless it is whole and of this key and shape.
pub(crate) fn read(file: &[u8], key: &str, shape: &[usize]) -> Option<Vec<f32>> {
    let (_, header) = SafeTensors::read_metadata(file).ok()?;
    let metadata = header.metadata().as_ref()?;
    let tensors = SafeTensors::deserialize(file).ok()?;
    let tensor = tensors.tensor(TENSOR).ok()?;
    let whole = metadata.get(KEY).is_some_and(|found| found == key)
        && tensor.dtype() == Dtype::F32
        && tensor.shape() == shape
        && metadata.get(CHECKSUM) == Some(&checksum(tensor.data()));
    let (words, _) = tensor.data().as_chunks::<4>();
    whole.then(|| words.iter().map(|&word| f32::from_le_bytes(word)).collect())
}

fn checksum(bytes: &[u8]) -> String {
    format!("{:x}", Sha256::digest(bytes))
}
