//! `*.safetensors.index.json`: which shard holds which tensor.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Component as PathPart, Path, PathBuf};

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};

use super::{CheckpointFile, Entry, json_text};
use crate::error::LoadError;
use crate::text::Excerpt;

/// A fault of an index or its shards; [`LoadError::Index`] adds the index's name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IndexError {
    /// Not JSON, or without a `weight_map` of texts.
    #[error("not a shard index ({message}): download it again")]
    NotAnIndex {
        /// The parser's message.
        message: Excerpt,
    },
    /// A key is listed twice.
    #[error("lists tensor `{key}` twice")]
    DuplicateKey {
        /// The tensor.
        key: Excerpt,
    },
    /// A shard outside the index's folder, by an absolute path.
    #[error("names the shard `{shard}` by an absolute path, which is not allowed")]
    AbsolutePath {
        /// The shard as named.
        shard: Excerpt,
    },
    /// A shard outside the index's folder, by `..`.
    #[error("names the shard `{shard}`, which may leave the folder, which is not allowed")]
    LeavesFolder {
        /// The shard as named.
        shard: Excerpt,
    },
    /// A shard that is not there.
    #[error("shard `{shard}` is missing: download it into the same folder")]
    MissingShard {
        /// The shard as named.
        shard: Excerpt,
    },
    /// One file under two names.
    #[error("names one shard twice: `{first}` and `{second}` are the same file")]
    SameShard {
        /// One name.
        first: Excerpt,
        /// The other.
        second: Excerpt,
    },
    /// A tensor that two shards hold.
    #[error("tensor `{key}` is in two shards, `{first}` and `{second}`")]
    KeyInTwoShards {
        /// The tensor.
        key: Excerpt,
        /// One shard.
        first: Excerpt,
        /// The other.
        second: Excerpt,
    },
    /// A tensor that is not in its shard, nor in any other.
    #[error(
        "tensor `{key}` is not in shard `{shard}`: index and shards are of different downloads"
    )]
    KeyNotInShard {
        /// The tensor.
        key: Excerpt,
        /// The shard that should hold it.
        shard: Excerpt,
    },
    /// A tensor that is in another shard than listed.
    #[error(
        "tensor `{key}` is listed in shard `{listed}` but lies in `{found}`: index and shards \
         are of different downloads"
    )]
    KeyInOtherShard {
        /// The tensor.
        key: Excerpt,
        /// The shard that should hold it.
        listed: Excerpt,
        /// The shard that holds it.
        found: Excerpt,
    },
    /// A tensor in a shard that the index does not know.
    #[error(
        "tensor `{key}` of shard `{shard}` is not listed: index and shards are of different \
         downloads"
    )]
    KeyNotListed {
        /// The tensor.
        key: Excerpt,
        /// The shard that holds it.
        shard: Excerpt,
    },
}

/// Opens all shards of an index and checks that they are exactly what it lists.
pub(super) fn open(index: &Path) -> Result<(Vec<CheckpointFile>, Vec<Entry>), LoadError> {
    let fault = |fault| LoadError::Index {
        file: index.to_path_buf(),
        fault,
    };
    let text = json_text(index)?;
    let listed = parse(&text).map_err(fault)?;
    let names: BTreeSet<&str> = listed.values().map(String::as_str).collect();
    let names: Vec<&str> = names.into_iter().collect();
    let folder = index.parent().unwrap_or(Path::new(""));
    let paths = shard_paths(folder, &names).map_err(fault)?;

    let mut files = Vec::new();
    let mut entries = Vec::new();
    for path in paths {
        let file = CheckpointFile::open(&path)?;
        entries.extend(file.entries(files.len()));
        files.push(file);
    }
    check_assignment(&listed, &names, &entries).map_err(fault)?;
    Ok((files, entries))
}

fn parse(text: &str) -> Result<BTreeMap<String, String>, IndexError> {
    #[derive(Deserialize)]
    struct Index {
        weight_map: Pairs,
    }
    let index: Index = serde_json::from_str(text).map_err(|error| IndexError::NotAnIndex {
        message: Excerpt::new(&error.to_string()),
    })?;
    let mut listed = BTreeMap::new();
    for (key, shard) in index.weight_map.0 {
        let shown = Excerpt::new(&key);
        if listed.insert(key, shard).is_some() {
            return Err(IndexError::DuplicateKey { key: shown });
        }
    }
    Ok(listed)
}

/// The entries of an object in order; a map would drop all but the last of equal keys.
struct Pairs(Vec<(String, String)>);

impl<'de> Deserialize<'de> for Pairs {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct PairsVisitor;

        impl<'de> Visitor<'de> for PairsVisitor {
            type Value = Pairs;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of shard names as weight_map")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Pairs, A::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = map.next_entry()? {
                    pairs.push(pair);
                }
                Ok(Pairs(pairs))
            }
        }

        deserializer.deserialize_map(PairsVisitor)
    }
}

/// The shards' paths in the order of `names`, each a different file that is there.
fn shard_paths(folder: &Path, names: &[&str]) -> Result<Vec<PathBuf>, IndexError> {
    let mut seen: BTreeMap<PathBuf, &str> = BTreeMap::new();
    let mut paths = Vec::new();
    for &name in names {
        check_name(name)?;
        let path = folder.join(name);
        // Two spellings of one file, and two links to it, have one canonical path.
        let canonical = path
            .canonicalize()
            .map_err(|_| IndexError::MissingShard { shard: name.into() })?;
        if let Some(first) = seen.insert(canonical, name) {
            return Err(IndexError::SameShard {
                first: first.into(),
                second: name.into(),
            });
        }
        paths.push(path);
    }
    Ok(paths)
}

/// Allows only paths that stay below the folder, by the rules of Unix and of Windows alike.
fn check_name(name: &str) -> Result<(), IndexError> {
    let absolute = || IndexError::AbsolutePath { shard: name.into() };
    if name.starts_with(['/', '\\']) || name.as_bytes().get(1) == Some(&b':') {
        return Err(absolute());
    }
    if name.contains('\\') {
        return Err(IndexError::LeavesFolder { shard: name.into() });
    }
    for part in Path::new(name).components() {
        match part {
            PathPart::Normal(_) | PathPart::CurDir => {}
            PathPart::ParentDir => {
                return Err(IndexError::LeavesFolder { shard: name.into() });
            }
            PathPart::RootDir | PathPart::Prefix(_) => return Err(absolute()),
        }
    }
    Ok(())
}

/// Checks that each shard (`entries[..].file` indexes `names`) holds the tensors listed for it,
/// and no others.
fn check_assignment(
    listed: &BTreeMap<String, String>,
    names: &[&str],
    entries: &[Entry],
) -> Result<(), IndexError> {
    let mut found: BTreeMap<&str, &str> = BTreeMap::new();
    for entry in entries {
        let (key, shard) = (entry.tensor.key.as_str(), names[entry.file]);
        if let Some(first) = found.insert(key, shard) {
            return Err(IndexError::KeyInTwoShards {
                key: key.into(),
                first: first.into(),
                second: shard.into(),
            });
        }
    }
    for (key, shard) in listed {
        match found.get(key.as_str()) {
            Some(found) if found == shard => {}
            Some(&found) => {
                return Err(IndexError::KeyInOtherShard {
                    key: key.into(),
                    listed: shard.into(),
                    found: found.into(),
                });
            }
            None => {
                return Err(IndexError::KeyNotInShard {
                    key: key.into(),
                    shard: shard.into(),
                });
            }
        }
    }
    match found.iter().find(|(key, _)| !listed.contains_key(**key)) {
        Some((&key, &shard)) => Err(IndexError::KeyNotListed {
            key: key.into(),
            shard: shard.into(),
        }),
        None => Ok(()),
    }
}
