//! Digests that tell the contents of model files apart, in milliseconds whatever their size.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

use loader::Weights;
use sha2::{Digest, Sha256};

use crate::error::Error;

/// Files up to this size are read whole.
const WHOLE_BYTES: u64 = 16 << 20;
/// The number of pieces of a longer file's data that are read, at even distances.
const SAMPLES: u64 = 64;
const SAMPLE_BYTES: u64 = 4096;
/// The limit of the safetensors format.
const MAX_HEADER_BYTES: u64 = 100_000_000;
/// Hexadecimal digits of a digest that are kept.
const DIGITS: usize = 32;

/// The digests of a pipeline's models.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelDigests {
    /// The digest of the transformer.
    pub transformer: String,
    /// The digest of the text encoder.
    pub text_encoder: String,
    /// The digest of the VAE.
    pub vae: String,
}

impl ModelDigests {
    /// Reads the files of the three.
    ///
    /// # Errors
    /// [`Error::ModelFile`] for a file that cannot be read.
    pub fn read(
        transformer: &Weights,
        text_encoder: &Weights,
        vae: &Weights,
    ) -> Result<Self, Error> {
        Ok(Self {
            transformer: of_weights(transformer)?,
            text_encoder: of_weights(text_encoder)?,
            vae: of_weights(vae)?,
        })
    }
}

fn of_weights(weights: &Weights) -> Result<String, Error> {
    let files = weights.checkpoint().files().iter();
    of_files(files.map(|file| file.path.as_path()))
}

/// The digest of several files together; that of the file where there is one.
///
/// # Errors
/// [`Error::ModelFile`] for a file that cannot be read.
pub fn of_files<'a>(files: impl Iterator<Item = &'a Path>) -> Result<String, Error> {
    let digest = |path: &Path| {
        of_file(path).map_err(|error| Error::ModelFile(format!("{}: {error}", path.display())))
    };
    let mut digests = files.map(digest).collect::<Result<Vec<_>, _>>()?;
    if let [only] = digests.as_slice() {
        return Ok(only.clone());
    }
    digests.sort_unstable();
    Ok(shortened(&Sha256::digest(digests.concat())))
}

/// The digest of one file: of its length, its header and samples spread over its data. Where the
/// file lies and when it was written makes no difference.
///
/// # Errors
/// A file that cannot be read.
pub fn of_file(path: &Path) -> io::Result<String> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    let mut hash = Sha256::new();
    hash.update(length.to_le_bytes());
    if length <= WHOLE_BYTES {
        io::copy(&mut file, &mut hash)?;
        return Ok(shortened(&hash.finalize()));
    }
    let header = header_bytes(&mut file, length)?;
    let mut piece = |start: u64, bytes: u64| {
        file.seek(SeekFrom::Start(start))?;
        io::copy(&mut (&mut file).take(bytes), &mut hash)
    };
    piece(0, header)?;
    let room = (length - header).saturating_sub(SAMPLE_BYTES);
    for sample in 0..SAMPLES {
        // A file of 2^58 bytes is none that there is.
        let start = header + room.saturating_mul(sample) / (SAMPLES - 1);
        piece(start, SAMPLE_BYTES)?;
    }
    Ok(shortened(&hash.finalize()))
}

/// The length of a file's header, with the eight bytes that tell it.
fn header_bytes(file: &mut File, length: u64) -> io::Result<u64> {
    let mut told = [0; 8];
    file.read_exact(&mut told)?;
    let told = u64::from_le_bytes(told);
    let header = told.saturating_add(8);
    Ok(if told <= MAX_HEADER_BYTES && header <= length {
        header
    } else {
        0
    })
}

fn shortened(digest: &[u8]) -> String {
    let mut text: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    text.truncate(DIGITS);
    text
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::fs;
    use std::io::{Seek, SeekFrom, Write};

    use super::{DIGITS, SAMPLES, WHOLE_BYTES, of_file};

    const MIB: u64 = 1 << 20;

    #[test]
    fn one_byte_anywhere_tells_small_files_apart() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        let mut bytes = vec![0; 3 << 20];
        fs::write(&path, &bytes).unwrap();
        let first = of_file(&path).unwrap();
        assert_eq!(first.len(), DIGITS);
        for at in [0, 1 << 20, 2_345_678, bytes.len() - 1] {
            bytes[at] ^= 1;
            fs::write(&path, &bytes).unwrap();
            assert_ne!(of_file(&path).unwrap(), first, "{at}");
            bytes[at] ^= 1;
        }
        // Elsewhere and later it is the same.
        let moved = folder.path().join("b");
        fs::write(&moved, &bytes).unwrap();
        assert_eq!(of_file(&moved).unwrap(), first);
    }

    #[test]
    fn large_files_are_told_apart_by_header_length_and_samples_of_their_data() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        let mut file = fs::File::create(&path).unwrap();
        let length = 4 * WHOLE_BYTES;
        file.set_len(length).unwrap();
        file.write_all(&(2 * MIB).to_le_bytes()).unwrap();
        let first = of_file(&path).unwrap();
        let header = 2 * MIB + 8;
        let step = (length - header - 4096) / (SAMPLES - 1);
        let samples = [0, 1, 31, 62].map(|sample| header + sample * step + 100);
        let ends = [MIB + 5, header - 1, length - 1];
        for at in samples.into_iter().chain(ends) {
            let mut write = |byte: u8| {
                file.seek(SeekFrom::Start(at)).unwrap();
                file.write_all(&[byte]).unwrap();
            };
            write(1);
            assert_ne!(of_file(&path).unwrap(), first, "{at}");
            write(0);
        }
        assert_eq!(of_file(&path).unwrap(), first);
        file.set_len(length + 1).unwrap();
        assert_ne!(of_file(&path).unwrap(), first);
    }
}
