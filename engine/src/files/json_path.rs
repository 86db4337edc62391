//! Paths in JSON, which is Unicode: what is not in a path becomes U+FFFD, as where it is printed.

use std::path::Path;

use serde::Serializer;

/// Writes a path, for `serialize_with`; serde's own would fail for one that is not Unicode.
///
/// # Errors
/// An error of the serializer.
pub fn lossy<S: Serializer>(path: &impl AsRef<Path>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&path.as_ref().to_string_lossy())
}
