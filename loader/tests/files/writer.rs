//! Writes small safetensors files, good and bad.

use loader::ElementType;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

/// A safetensors file in the making.
#[derive(Clone, Default)]
pub(crate) struct Writer {
    header: Map<String, Value>,
    metadata: Map<String, Value>,
    data: Vec<u8>,
    misaligned: bool,
}

impl Writer {
    /// Appends a tensor.
    pub(crate) fn tensor(
        mut self,
        key: &str,
        dtype: ElementType,
        shape: &[usize],
        bytes: &[u8],
    ) -> Self {
        let begin = self.data.len();
        self.data.extend(bytes);
        let offsets = [begin, self.data.len()];
        let entry = json!({"dtype": dtype.to_string(), "shape": shape, "data_offsets": offsets});
        assert!(
            self.header.insert(key.into(), entry).is_none(),
            "{key} twice"
        );
        self
    }

    /// Appends a tensor of zeros.
    pub(crate) fn zeros(self, key: &str, dtype: ElementType, shape: &[usize]) -> Self {
        let blocks = shape.iter().product::<usize>() / dtype.block().elements;
        self.tensor(key, dtype, shape, &vec![0; blocks * dtype.block().bytes])
    }

    /// Appends an F32 tensor.
    pub(crate) fn f32(self, key: &str, shape: &[usize], values: &[f32]) -> Self {
        let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        self.tensor(key, ElementType::F32, shape, &bytes)
    }

    /// Appends a BF16 tensor.
    pub(crate) fn bf16(self, key: &str, shape: &[usize], values: &[f32]) -> Self {
        let bytes = values
            .iter()
            .flat_map(|&v| half::bf16::from_f32(v).to_le_bytes());
        self.tensor(key, ElementType::BF16, shape, &bytes.collect::<Vec<u8>>())
    }

    /// Appends a U8 tensor of text.
    pub(crate) fn text(self, key: &str, text: &str) -> Self {
        self.tensor(key, ElementType::U8, &[text.len()], text.as_bytes())
    }

    /// Adds an entry to the metadata.
    pub(crate) fn metadata(mut self, key: &str, text: &str) -> Self {
        self.metadata.insert(key.into(), text.into());
        self
    }

    /// Makes the data begin at an odd offset.
    pub(crate) fn misaligned(mut self) -> Self {
        self.misaligned = true;
        self
    }

    /// The bytes of the file.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut header = self.header.clone();
        if !self.metadata.is_empty() {
            header.insert("__metadata__".into(), self.metadata.clone().into());
        }
        let mut header = Value::Object(header).to_string();
        while header.len() % 8 != usize::from(self.misaligned) {
            header.push(' ');
        }
        let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
        bytes.extend(header.as_bytes());
        bytes.extend(&self.data);
        bytes
    }

    /// Writes the file, and the folders above it.
    pub(crate) fn write(&self, path: impl AsRef<Path>) -> PathBuf {
        write(path, self.bytes())
    }
}

/// Writes any file, and the folders above it.
pub(crate) fn write(path: impl AsRef<Path>, contents: impl AsRef<[u8]>) -> PathBuf {
    let path = path.as_ref();
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, contents).unwrap();
    path.to_path_buf()
}

/// The least that is recognised as a transformer, with keys after `prefix`.
pub(crate) fn transformer(prefix: &str) -> Writer {
    Writer::default().zeros(&format!("{prefix}txt_norm.weight"), ElementType::BF16, &[4])
}

/// The least that is recognised as a text encoder.
pub(crate) fn text_encoder() -> Writer {
    let key = "model.layers.0.self_attn.k_proj.bias";
    Writer::default().zeros(key, ElementType::BF16, &[4])
}

/// The least that is recognised as a VAE.
pub(crate) fn vae() -> Writer {
    let key = "decoder.middle.0.residual.0.gamma";
    Writer::default().zeros(key, ElementType::BF16, &[4, 1, 1, 1])
}
