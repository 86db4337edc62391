//! The digests that the Hub publishes for its files.

use std::fmt;

use sha1::Sha1;
use sha2::{Digest as _, Sha256};

/// The hash of a file's bytes, in lower-case hexadecimal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Digest {
    /// SHA-256 of the bytes, for files in large-file storage.
    Sha256(String),
    /// The name of the file's blob in git, SHA-1 of `blob LENGTH\0` and the bytes, for small files.
    GitBlob(String),
}

impl Digest {
    /// `text` as a SHA-256, if it is one.
    pub(crate) fn sha256(text: &str) -> Option<Self> {
        hexadecimal(text, 64).map(Self::Sha256)
    }

    /// `text` as a git blob name, if it is one.
    pub(crate) fn git_blob(text: &str) -> Option<Self> {
        hexadecimal(text, 40).map(Self::GitBlob)
    }

    /// The hexadecimal digits.
    pub fn hex(&self) -> &str {
        match self {
            Self::Sha256(hex) | Self::GitBlob(hex) => hex,
        }
    }

    /// A hasher of this kind for a file of `size` bytes.
    pub(crate) fn hasher(&self, size: u64) -> Hasher {
        match self {
            Self::Sha256(_) => Hasher::Sha256(Sha256::new()),
            Self::GitBlob(_) => {
                let mut hasher = Sha1::new();
                hasher.update(format!("blob {size}\0"));
                Hasher::GitBlob(hasher)
            }
        }
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sha256(hex) => write!(f, "SHA-256 {hex}"),
            Self::GitBlob(hex) => write!(f, "git blob {hex}"),
        }
    }
}

/// The state of a digest while bytes are added.
#[derive(Debug, Clone)]
pub(crate) enum Hasher {
    Sha256(Sha256),
    GitBlob(Sha1),
}

impl Hasher {
    /// Adds the next bytes.
    pub(crate) fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Sha256(hasher) => hasher.update(bytes),
            Self::GitBlob(hasher) => hasher.update(bytes),
        }
    }

    /// The digest of all bytes added.
    pub(crate) fn finish(self) -> Digest {
        match self {
            Self::Sha256(hasher) => Digest::Sha256(format!("{:x}", hasher.finalize())),
            Self::GitBlob(hasher) => Digest::GitBlob(format!("{:x}", hasher.finalize())),
        }
    }
}

fn hexadecimal(text: &str, digits: usize) -> Option<String> {
    let fits = text.len() == digits && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    fits.then(|| text.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::Digest;

    #[test]
    fn digests_are_those_of_sha256sum_and_git_hash_object() {
        for (digest, expected) in [
            (
                Digest::sha256(&"0".repeat(64)),
                "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824",
            ),
            (
                Digest::git_blob(&"0".repeat(40)),
                "b6fc4c620b67d95f953a5c1c1230aaab5db5a1b0",
            ),
        ] {
            let mut hasher = digest.map(|digest| digest.hasher(5));
            if let Some(hasher) = &mut hasher {
                hasher.update(b"he");
                hasher.update(b"llo");
            }
            let found = hasher.map(|hasher| hasher.finish().hex().to_owned());
            assert_eq!(found.as_deref(), Some(expected));
        }
    }

    #[test]
    fn what_is_no_digest_is_none() {
        assert_eq!(Digest::sha256(&"0".repeat(40)), None);
        assert_eq!(Digest::git_blob(&"x".repeat(40)), None);
        assert_eq!(Digest::sha256("../../etc/passwd"), None);
    }
}
