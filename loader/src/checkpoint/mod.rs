//! A checkpoint: one file, or shards with their index, as one set of tensors.

mod found;
mod index;
mod part;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::Value;

pub use found::FoundCheckpoint;
pub use index::IndexError;

use crate::container::{self, Container, FileVersion, TensorEntry, file_metadata};
use crate::error::LoadError;
use crate::text::Excerpt;

/// The largest index.json or config.json that is read. The index of a model of 100 000 tensors
/// has about 10 MB.
const MAX_JSON_BYTES: u64 = 64_000_000;

const INDEX_SUFFIX: &str = ".safetensors.index.json";

/// The tensors of one or several files, by name. Only headers have been read.
#[derive(Clone, Debug)]
pub struct Checkpoint {
    source: PathBuf,
    files: Vec<CheckpointFile>,
    entries: Vec<Entry>,
    by_key: BTreeMap<String, usize>,
    config: Option<Value>,
    /// How many tensors there are in the files, other models' included.
    tensors_in_files: usize,
    /// Prefixes of the keys of other models in the files, if this is one of several.
    elsewhere: Vec<String>,
}

/// One file of a checkpoint.
#[derive(Clone, Debug)]
pub struct CheckpointFile {
    /// Its path.
    pub path: PathBuf,
    container: Arc<dyn Container>,
}

impl CheckpointFile {
    fn open(path: &Path) -> Result<Self, LoadError> {
        Ok(Self {
            path: path.to_path_buf(),
            container: container::open(path)?,
        })
    }

    /// Which version of it was opened.
    pub fn version(&self) -> FileVersion {
        self.container.version()
    }

    /// The text that it has under a key of its metadata.
    pub fn text(&self, key: &str) -> Option<&str> {
        self.container.text(key)
    }

    /// Its tensors, where it is the file of this index.
    fn entries(&self, file: usize) -> impl Iterator<Item = Entry> {
        let tensors = self.container.tensors().iter().cloned();
        tensors.map(move |tensor| Entry { file, tensor })
    }
}

/// A tensor, and the file that holds it.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Index into [`Checkpoint::files`].
    pub file: usize,
    /// Name, type, shape and place of the tensor.
    pub tensor: TensorEntry,
}

impl Checkpoint {
    /// Opens a `.safetensors` file, an `index.json`, or a folder that holds exactly one of these.
    ///
    /// The model's config is the text `config` in the file's metadata, or else the `config.json`
    /// beside an index, in the folder, or beside a file with one of the standard names.
    ///
    /// # Errors
    /// Whatever makes the files unusable: see [`LoadError`].
    pub fn open(path: &Path) -> Result<Self, LoadError> {
        let file = if path.is_dir() {
            find_in_folder(path)?
        } else {
            path.to_path_buf()
        };
        let suffix = file.extension();
        let is_index = suffix.is_some_and(|suffix| suffix.eq_ignore_ascii_case("json"));
        let (files, entries) = if is_index {
            index::open(&file)?
        } else {
            single(&file)?
        };
        let by_key = entries.iter().enumerate();
        let by_key = by_key.map(|(i, entry)| (entry.tensor.key.clone(), i));
        let config = match metadata_config(&files)? {
            Some(config) => Some(config),
            None if path.is_dir() || is_index || has_standard_name(&file) => config_beside(&file)?,
            None => None,
        };
        Ok(Self {
            source: path.to_path_buf(),
            by_key: by_key.collect(),
            files,
            tensors_in_files: entries.len(),
            entries,
            config,
            elsewhere: Vec::new(),
        })
    }

    /// The path it was opened by.
    pub fn source(&self) -> &Path {
        &self.source
    }

    /// Its files.
    pub fn files(&self) -> &[CheckpointFile] {
        &self.files
    }

    /// All tensors, file by file, in the order of their bytes.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// How many tensors there are in the files; more than [entries](Self::entries) where they hold
    /// several models, and this is one of them.
    pub fn tensors_in_files(&self) -> usize {
        self.tensors_in_files
    }

    /// Finds a tensor by its name in the file: an index into [`Checkpoint::entries`].
    pub fn find(&self, key: &str) -> Option<usize> {
        self.by_key.get(key).copied()
    }

    /// The model's config, if one was found.
    pub fn config(&self) -> Option<&Value> {
        self.config.as_ref()
    }

    /// Size of all files in bytes.
    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.version().len).sum()
    }
}

/// A key as it would be without the checkpoint's prefix. Keys about the whole file often have none.
pub(crate) fn without_prefix<'a>(key: &'a str, prefix: &str) -> &'a str {
    key.strip_prefix(prefix).unwrap_or(key)
}

fn single(path: &Path) -> Result<(Vec<CheckpointFile>, Vec<Entry>), LoadError> {
    let name = path.file_name().and_then(|name| name.to_str());
    if let Some((number, of)) = name.and_then(one_of_several_shards) {
        // What is no file at all is told as that.
        file_metadata(path)?;
        let file = path.to_path_buf();
        return Err(LoadError::ShardAlone { file, number, of });
    }
    let file = CheckpointFile::open(path)?;
    let entries = file.entries(0).collect();
    Ok((vec![file], entries))
}

/// The number of a shard, from 1, and of all shards, by a name such as
/// `model-00001-of-00002.safetensors`; `None` for any other, and for an only shard.
fn one_of_several_shards(name: &str) -> Option<(usize, usize)> {
    let (name, of) = container::without_ending(name)?.rsplit_once("-of-")?;
    let (_, number) = name.rsplit_once('-')?;
    let (number, of) = (number.parse().ok()?, of.parse().ok()?);
    (of > 1).then_some((number, of))
}

/// The one index or checkpoint file of a folder.
fn find_in_folder(dir: &Path) -> Result<PathBuf, LoadError> {
    if dir.join("model_index.json").is_file() {
        return Err(LoadError::WholeModel { dir: dir.into() });
    }
    let names = file_names(dir)?;
    let indices: Vec<&String> = names.iter().filter(|name| is_index(name)).collect();
    let is_file = |name: &&String| container::without_ending(name).is_some();
    let files: Vec<&String> = names.iter().filter(is_file).collect();
    match (indices.as_slice(), files.as_slice()) {
        ([one], _) => Ok(dir.join(one)),
        ([], []) => Err(LoadError::EmptyFolder { dir: dir.into() }),
        ([], files)
            if files
                .iter()
                .all(|name| one_of_several_shards(name).is_some()) =>
        {
            Err(LoadError::ShardsWithoutIndex { dir: dir.into() })
        }
        ([], [one]) => Ok(dir.join(one)),
        ([], several) | (several, _) => Err(LoadError::AmbiguousFolder {
            dir: dir.into(),
            files: several.iter().map(|name| Excerpt::new(name)).collect(),
        }),
    }
}

/// Tells whether a name is that of an index of shards.
pub(crate) fn is_index(name: &str) -> bool {
    container::strip_ending(name, INDEX_SUFFIX).is_some()
}

/// The names of a folder's entries, sorted; names that are not Unicode are none of ours, nor are
/// the `._` files that macOS leaves beside others.
pub(crate) fn file_names(dir: &Path) -> Result<Vec<String>, LoadError> {
    let io = |error| LoadError::io(dir, error);
    let mut names = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(io)? {
        if let Ok(name) = entry.map_err(io)?.file_name().into_string()
            && !name.starts_with("._")
        {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

/// Tells whether a file has a name that diffusers and transformers give it, so that a `config.json`
/// beside it is its own.
fn has_standard_name(file: &Path) -> bool {
    let name = file.file_name().and_then(|name| name.to_str());
    name.is_some_and(|name| {
        name.starts_with("diffusion_pytorch_model") || name.starts_with("model.")
    })
}

/// The config in the metadata of the first file that has one.
fn metadata_config(files: &[CheckpointFile]) -> Result<Option<Value>, LoadError> {
    let found = files
        .iter()
        .find_map(|file| Some((file, file.text("config")?)));
    found
        .map(|(file, text)| config_object(&file.path, "config in its metadata", text))
        .transpose()
}

/// The `config.json` in the folder of `file`.
fn config_beside(file: &Path) -> Result<Option<Value>, LoadError> {
    let path = file.with_file_name("config.json");
    if !path.is_file() {
        return Ok(None);
    }
    let text = json_text(&path)?;
    config_object(&path, "config", &text).map(Some)
}

fn config_object(file: &Path, what: &'static str, text: &str) -> Result<Value, LoadError> {
    let bad = |message: &str| LoadError::BadConfig {
        file: file.into(),
        what,
        message: Excerpt::new(message),
    };
    let value: Value = serde_json::from_str(text).map_err(|error| bad(&error.to_string()))?;
    if value.is_object() {
        Ok(value)
    } else {
        Err(bad("it is not a JSON object"))
    }
}

/// The text of a JSON file of bounded size.
pub(crate) fn json_text(path: &Path) -> Result<String, LoadError> {
    let bad = |message: &str| LoadError::BadConfig {
        file: path.into(),
        what: "JSON text",
        message: Excerpt::new(message),
    };
    if file_metadata(path)?.len() > MAX_JSON_BYTES {
        return Err(bad("it is larger than 64 MB"));
    }
    let file = File::open(path).map_err(|error| LoadError::io(path, error))?;
    let mut bytes = Vec::new();
    file.take(MAX_JSON_BYTES)
        .read_to_end(&mut bytes)
        .map_err(|error| LoadError::io(path, error))?;
    String::from_utf8(bytes).map_err(|_| bad("it is not UTF-8 text"))
}
