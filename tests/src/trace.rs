//! Recorded tensors.

use std::path::{Path, PathBuf};

use safetensors::{Dtype, SafeTensors};

/// A path below the fixtures folder.
pub fn fixture(path: impl AsRef<Path>) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fixtures")
        .join(path)
}

/// A file of recorded tensors.
pub struct Trace(Vec<u8>);

impl Trace {
    /// Reads a file below the fixtures folder.
    pub fn open(path: &str) -> Self {
        Self(std::fs::read(fixture(path)).expect("a recorded trace"))
    }

    fn tensors(&self) -> SafeTensors<'_> {
        SafeTensors::deserialize(&self.0).expect("a safetensors file")
    }

    /// Tells whether a tensor was recorded.
    pub fn has(&self, name: &str) -> bool {
        self.tensors().names().contains(&name)
    }

    /// All names.
    pub fn names(&self) -> Vec<String> {
        self.tensors().names().into_iter().map(Into::into).collect()
    }

    /// An f32 tensor: its shape and its elements.
    pub fn f32(&self, name: &str) -> (Vec<usize>, Vec<f32>) {
        let (shape, bytes) = self.bytes(name, Dtype::F32);
        let values = bytes.as_chunks().0.iter().copied();
        (shape, values.map(f32::from_le_bytes).collect())
    }

    /// An i64 tensor, flattened.
    pub fn i64(&self, name: &str) -> Vec<i64> {
        let (_, bytes) = self.bytes(name, Dtype::I64);
        let values = bytes.as_chunks().0.iter().copied();
        values.map(i64::from_le_bytes).collect()
    }

    /// A u8 tensor: its shape and its elements.
    pub fn u8(&self, name: &str) -> (Vec<usize>, Vec<u8>) {
        self.bytes(name, Dtype::U8)
    }

    fn bytes(&self, name: &str, dtype: Dtype) -> (Vec<usize>, Vec<u8>) {
        let tensors = self.tensors();
        let tensor = tensors
            .tensor(name)
            .unwrap_or_else(|_| panic!("{name} was not recorded"));
        assert_eq!(tensor.dtype(), dtype, "{name}");
        (tensor.shape().to_vec(), tensor.data().to_vec())
    }
}

/// Asserts that no element is further from the reference than `tolerance` times its largest
/// magnitude, or times 1 if that is larger.
///
/// # Panics
/// On another shape, a larger distance, or NaN.
pub fn check(
    what: &str,
    shape: &[usize],
    found: &[f32],
    (expected_shape, expected): (Vec<usize>, Vec<f32>),
    tolerance: f32,
) {
    assert_eq!(shape, expected_shape, "{what}: shape");
    assert_eq!(found.len(), expected.len(), "{what}: length");
    let largest = expected.iter().fold(1.0f32, |max, v| max.max(v.abs()));
    let mut worst = (0.0f32, 0);
    for (i, (f, e)) in found.iter().zip(&expected).enumerate() {
        let distance = (f - e).abs();
        assert!(!distance.is_nan(), "{what}: element {i} is {f}, not {e}");
        if distance > worst.0 {
            worst = (distance, i);
        }
    }
    let (distance, i) = worst;
    assert!(
        distance <= tolerance * largest,
        "{what}: element {i} is {}, not {}: {distance:e} apart, {:e} allowed",
        found[i],
        expected[i],
        tolerance * largest
    );
}
