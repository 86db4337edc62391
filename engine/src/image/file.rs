//! An image's file, read whole and within bounds.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use sha2::{Digest, Sha256};

use crate::error::Error;

/// The largest file that is read.
const MAX_FILE_BYTES: u64 = 256 << 20;

/// Everything in an image's file.
///
/// # Errors
/// [`Error::Image`] if it cannot be read, is no regular file, or is too large for an image.
pub(super) fn read(path: &Path) -> Result<Vec<u8>, Error> {
    let bad = |reason: String| Error::image(path, reason);
    let metadata = std::fs::metadata(path).map_err(|error| bad(error.to_string()))?;
    if !metadata.is_file() {
        return Err(bad("is not a file".to_owned()));
    }
    let file = File::open(path).map_err(|error| bad(error.to_string()))?;
    let mut bytes = Vec::new();
    // The file may grow while it is read.
    file.take(MAX_FILE_BYTES + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| bad(error.to_string()))?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(bad(format!(
            "is too large for an image: more than {} MiB",
            MAX_FILE_BYTES >> 20
        )));
    }
    Ok(bytes)
}

/// The SHA-256 of a file's contents in hexadecimal.
pub(super) fn sha256(bytes: &[u8]) -> String {
    format!("{:x}", Sha256::digest(bytes))
}

#[cfg(test)]
mod tests {
    use super::sha256;

    #[test]
    fn a_digest_is_that_of_the_standard() {
        // FIPS 180-2, appendix B.1.
        assert_eq!(
            sha256(b"abc"),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
    }
}
