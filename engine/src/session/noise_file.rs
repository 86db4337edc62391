//! The starting noise from a file.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use loader::{ElementType, Header};

use crate::error::Error;

const TENSOR: &str = "noise";

/// Reads `noise`, F32 `[1, 1, channels, height, width]` in latent pixels, in that order.
///
/// # Errors
/// The file is no safetensors file, holds no such tensor, or one of another shape or with NaN.
pub(super) fn read(path: &Path, latent_shape: [usize; 4]) -> Result<Vec<f32>, Error> {
    let bad = |reason: String| Error::ModelFile(format!("{}: {reason}", path.display()));
    let header = Header::open(path)?;
    let Some(entry) = header.tensors.iter().find(|entry| entry.key == TENSOR) else {
        return Err(bad(format!("holds no tensor named `{TENSOR}`")));
    };
    let [batch, channels, height, width] = latent_shape;
    let expected = [batch, 1, channels, height, width];
    if entry.dtype != ElementType::F32 || entry.shape != expected {
        return Err(bad(format!(
            "`{TENSOR}` is {} {:?}; an image of this size needs F32 {expected:?}",
            entry.dtype, entry.shape
        )));
    }
    let read = || {
        let mut file = File::open(path)?;
        file.seek(SeekFrom::Start(entry.range.start))?;
        let mut bytes = vec![0; 4 * expected.iter().product::<usize>()];
        file.read_exact(&mut bytes)?;
        Ok::<_, std::io::Error>(bytes)
    };
    let bytes = read().map_err(|error| bad(error.to_string()))?;
    let (words, _) = bytes.as_chunks::<4>();
    let values: Vec<f32> = words.iter().map(|&word| f32::from_le_bytes(word)).collect();
    if values.iter().all(|value| value.is_finite()) {
        Ok(values)
    } else {
        Err(bad(format!("`{TENSOR}` has values that are not finite")))
    }
}
