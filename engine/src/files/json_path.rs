//! Paths in JSON, which is Unicode: what is not in a path becomes U+FFFD, as where it is printed.

use std::path::Path;

use serde::Serializer;

/// For `serialize_with` on a path, for which serde's own would fail.
///
/// # Errors
/// The serializer's.
pub fn lossy<S: Serializer>(path: &impl AsRef<Path>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&path.as_ref().to_string_lossy())
}
