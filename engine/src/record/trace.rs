//! Traces: every intermediate tensor of one image, for comparison with the reference.

use std::borrow::Cow;
use std::path::Path;

use safetensors::{Dtype, View};

use crate::error::Error;
use crate::files::atomic;

/// Tensors by name, kept in host memory until the image is done.
#[derive(Debug, Default)]
pub struct Trace {
    tensors: Vec<(String, Entry)>,
}

#[derive(Debug)]
struct Entry {
    dtype: Dtype,
    shape: Vec<usize>,
    bytes: Vec<u8>,
}

impl Trace {
    /// Adds an F32 tensor.
    pub fn add_f32(&mut self, name: impl Into<String>, shape: &[usize], values: &[f32]) {
        let bytes = values
            .iter()
            .flat_map(|value| value.to_le_bytes())
            .collect();
        self.add(name.into(), Dtype::F32, shape, bytes);
    }

    /// Adds an I64 tensor.
    pub fn add_i64(&mut self, name: impl Into<String>, shape: &[usize], values: &[i64]) {
        let bytes = values
            .iter()
            .flat_map(|value| value.to_le_bytes())
            .collect();
        self.add(name.into(), Dtype::I64, shape, bytes);
    }

    fn add(&mut self, name: String, dtype: Dtype, shape: &[usize], bytes: Vec<u8>) {
        let shape = shape.to_vec();
        self.tensors.push((
            name,
            Entry {
                dtype,
                shape,
                bytes,
            },
        ));
    }

    /// Writes the file, whole or not at all.
    ///
    /// # Errors
    /// [`Error::Output`] when it cannot be written.
    pub fn write(&self, path: &Path) -> Result<(), Error> {
        let tensors = self.tensors.iter().map(|(name, entry)| (name, entry));
        let bytes = safetensors::serialize(tensors, None)
            .map_err(|error| Error::Internal(format!("trace: {error}")))?;
        atomic::write(path, &bytes)
    }
}

impl View for &Entry {
    fn dtype(&self) -> Dtype {
        self.dtype
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        Cow::Borrowed(&self.bytes)
    }

    fn data_len(&self) -> usize {
        self.bytes.len()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::Trace;

    #[test]
    fn what_is_added_is_read_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("trace.safetensors");
        let mut trace = Trace::default();
        trace.add_f32("sigmas", &[2], &[1.0, 0.0]);
        trace.add_i64("input_ids", &[1, 3], &[5, -1, 151_644]);
        trace.write(&path).unwrap();
        let bytes = std::fs::read(&path).unwrap();
        let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
        assert_eq!(
            file.tensor("sigmas").unwrap().data(),
            [0, 0, 128, 63, 0, 0, 0, 0]
        );
        let ids = file.tensor("input_ids").unwrap();
        assert_eq!(
            (ids.dtype(), ids.shape()),
            (safetensors::Dtype::I64, &[1, 3][..])
        );
        assert_eq!(ids.data()[8..16], [255; 8]);
    }
}
