//! Safetensors files taken apart and put together, so that tests can break them.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

/// A whole file in memory.
#[derive(Clone)]
pub(crate) struct File {
    pub(crate) metadata: Value,
    pub(crate) tensors: Vec<Entry>,
}

/// One tensor of it.
#[derive(Clone)]
pub(crate) struct Entry {
    pub(crate) key: String,
    pub(crate) dtype: String,
    pub(crate) shape: Vec<usize>,
    pub(crate) bytes: Vec<u8>,
}

impl Entry {
    pub(crate) fn new(key: &str, dtype: &str, shape: &[usize], bytes: Vec<u8>) -> Self {
        Self {
            key: key.to_owned(),
            dtype: dtype.to_owned(),
            shape: shape.to_vec(),
            bytes,
        }
    }

    pub(crate) fn f32s(&self) -> Vec<f32> {
        assert_eq!(self.dtype, "F32", "{}", self.key);
        let chunks = self.bytes.chunks_exact(4);
        chunks
            .map(|b| f32::from_le_bytes(b.try_into().unwrap()))
            .collect()
    }
}

impl File {
    pub(crate) fn read(path: &Path) -> Self {
        let bytes = fs::read(path).unwrap();
        let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
        let (header, data) = bytes[8..].split_at(length);
        let mut header: Map<String, Value> = serde_json::from_slice(header).unwrap();
        let metadata = header.remove("__metadata__").unwrap_or(Value::Null);
        let mut tensors: Vec<(usize, Entry)> = header
            .into_iter()
            .map(|(key, entry)| {
                let number = |value: &Value| value.as_u64().unwrap() as usize;
                let shape: Vec<usize> = entry["shape"]
                    .as_array()
                    .unwrap()
                    .iter()
                    .map(number)
                    .collect();
                let (start, end) = (
                    number(&entry["data_offsets"][0]),
                    number(&entry["data_offsets"][1]),
                );
                let dtype = entry["dtype"].as_str().unwrap();
                (
                    start,
                    Entry::new(&key, dtype, &shape, data[start..end].to_vec()),
                )
            })
            .collect();
        tensors.sort_by_key(|(start, _)| *start);
        Self {
            metadata,
            tensors: tensors.into_iter().map(|(_, entry)| entry).collect(),
        }
    }

    pub(crate) fn write(&self, path: &Path) {
        let mut header = Map::new();
        if !self.metadata.is_null() {
            header.insert("__metadata__".to_owned(), self.metadata.clone());
        }
        let mut data = Vec::new();
        for entry in &self.tensors {
            let start = data.len();
            data.extend(&entry.bytes);
            header.insert(
                entry.key.clone(),
                json!({"dtype": entry.dtype, "shape": entry.shape, "data_offsets": [start, data.len()]}),
            );
        }
        write_raw(path, &Value::Object(header).to_string(), &data);
    }

    #[track_caller]
    pub(crate) fn get(&self, key: &str) -> &Entry {
        let found = self.tensors.iter().find(|entry| entry.key == key);
        found.unwrap_or_else(|| panic!("no tensor {key}"))
    }

    #[track_caller]
    pub(crate) fn get_mut(&mut self, key: &str) -> &mut Entry {
        let found = self.tensors.iter_mut().find(|entry| entry.key == key);
        found.unwrap_or_else(|| panic!("no tensor {key}"))
    }

    pub(crate) fn names(&self) -> Vec<&str> {
        let mut names: Vec<&str> = self
            .tensors
            .iter()
            .map(|entry| entry.key.as_str())
            .collect();
        names.sort_unstable();
        names
    }

    /// The config JSON in the metadata, changed by `change`.
    pub(crate) fn edit_config(&mut self, change: impl FnOnce(&mut Value)) {
        let mut config = serde_json::from_str(self.metadata["config"].as_str().unwrap()).unwrap();
        change(&mut config);
        self.metadata["config"] = config.to_string().into();
    }
}

/// Reads the file, changes it, writes it back.
pub(crate) fn edit(path: PathBuf, change: impl FnOnce(&mut File)) {
    let mut file = File::read(&path);
    change(&mut file);
    file.write(&path);
}

/// A file of exactly this header text and data.
pub(crate) fn write_raw(path: &Path, header: &str, data: &[u8]) {
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend(header.as_bytes());
    bytes.extend(data);
    fs::write(path, bytes).unwrap();
}
