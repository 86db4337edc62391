//! The list of a repository's files, from the Hub's API.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::digest::Digest;

/// The number of names in a message on a missing file.
const NAMES_TOLD: usize = 8;

/// The files of a repository at its newest commit.
#[derive(Debug, Clone)]
pub struct Listing {
    /// The commit. Files are fetched as of it, so that all belong together.
    pub commit: String,
    /// The licence's short name, where the repository names one.
    pub licence: Option<String>,
    files: BTreeMap<String, Entry>,
}

/// A file of a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The size in bytes.
    pub size: u64,
    /// The digest of its bytes.
    pub digest: Digest,
}

impl Listing {
    /// Reads the answer of `/api/models/OWNER/NAME?blobs=true`.
    ///
    /// # Errors
    /// The fault of the text, in words.
    pub(crate) fn parse(json: &[u8]) -> Result<Self, String> {
        let answer: Answer = serde_json::from_slice(json)
            .map_err(|error| format!("the answer is not a list of files: {error}"))?;
        // The commit becomes part of an address.
        if answer.sha.is_empty() || !answer.sha.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err("the answer names no commit".to_owned());
        }
        let licence = answer.card_data.and_then(|card| card.license);
        Ok(Self {
            commit: answer.sha,
            licence: licence.and_then(|licence| licence.as_str().map(str::to_owned)),
            files: answer.siblings.into_iter().filter_map(entry).collect(),
        })
    }

    /// A file by its path.
    pub(crate) fn get(&self, path: &str) -> Option<&Entry> {
        self.files.get(path)
    }

    /// The first files in the folder of `path`, by their names.
    pub(crate) fn beside(&self, path: &str) -> Vec<String> {
        let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
        let names = self.files.keys().filter_map(|other| {
            let (place, name) = other.rsplit_once('/').unwrap_or(("", other));
            (place == folder).then(|| name.to_owned())
        });
        names.take(NAMES_TOLD).collect()
    }
}

/// The path and the entry of a listed file; none without a size or a digest, since such a file
/// cannot be checked.
fn entry(sibling: Sibling) -> Option<(String, Entry)> {
    let (size, digest) = match sibling.lfs {
        Some(lfs) => (
            Some(lfs.size),
            lfs.sha256.or(lfs.oid).as_deref().and_then(Digest::sha256),
        ),
        None => (
            sibling.size,
            sibling.blob_id.as_deref().and_then(Digest::git_blob),
        ),
    };
    let entry = Entry {
        size: size?,
        digest: digest?,
    };
    Some((sibling.rfilename, entry))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    sha: String,
    #[serde(default)]
    card_data: Option<Card>,
    siblings: Vec<Sibling>,
}

#[derive(Deserialize)]
struct Card {
    // A name, in some repositories a list of names.
    #[serde(default)]
    license: Option<serde_json::Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Sibling {
    rfilename: String,
    #[serde(default)]
    size: Option<u64>,
    #[serde(default)]
    blob_id: Option<String>,
    #[serde(default)]
    lfs: Option<Lfs>,
}

#[derive(Deserialize)]
struct Lfs {
    size: u64,
    #[serde(default)]
    sha256: Option<String>,
    #[serde(default)]
    oid: Option<String>,
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::{Digest, Listing};

    #[test]
    fn an_answer_is_read_with_sizes_and_digests() {
        let (sha256, blob) = ("a".repeat(64), "b".repeat(40));
        let answer = json!({
            "id": "o/n", "sha": "0123abcd", "cardData": {"license": "apache-2.0"}, "likes": 3,
            "siblings": [
                {"rfilename": "d/x.safetensors", "size": 9, "blobId": blob,
                 "lfs": {"sha256": sha256, "size": 9, "pointerSize": 134}},
                {"rfilename": "d/y.json", "size": 2, "blobId": blob},
                {"rfilename": "d/unknown.json"},
                {"rfilename": "z", "size": 1, "blobId": "not one"},
            ],
        });
        let listing = Listing::parse(answer.to_string().as_bytes()).unwrap();
        assert_eq!(listing.commit, "0123abcd");
        assert_eq!(listing.licence.as_deref(), Some("apache-2.0"));
        let large = listing.get("d/x.safetensors").unwrap();
        assert_eq!((large.size, &large.digest), (9, &Digest::Sha256(sha256)));
        let small = listing.get("d/y.json").unwrap();
        assert_eq!((small.size, &small.digest), (2, &Digest::GitBlob(blob)));
        assert_eq!(listing.get("d/unknown.json"), None);
        assert_eq!(listing.get("z"), None);
        assert_eq!(listing.beside("d/gone"), ["x.safetensors", "y.json"]);
    }

    #[test]
    fn other_answers_are_refused_in_words() {
        for answer in ["", "<html>", "{}", r#"{"sha": "../x", "siblings": []}"#] {
            assert!(Listing::parse(answer.as_bytes()).is_err(), "{answer}");
        }
    }
}
