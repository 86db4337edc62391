//! The formats that a checkpoint states for its layers, in tensors beside them or in the metadata.

use std::collections::BTreeMap;

use backends::fp8::Fp8Format;
use serde::Deserialize;

use super::{DialectError, IsNeeded, Signs};
use crate::checkpoint::{Checkpoint, without_prefix};
use crate::element::ElementType;
use crate::error::LoadError;
use crate::source::Source;
use crate::text::Excerpt;

const METADATA: &str = "_quantization_metadata";

/// Longest `comfy_quant` text that is read; real ones have some 60 bytes.
const MAX_FORMAT_BYTES: u64 = 65_536;

/// The JSON of one layer, of which other members are hints on speed; or the format's name alone.
#[derive(Deserialize)]
#[serde(untagged)]
enum LayerFormat {
    Named { format: String },
    Bare(String),
}

impl LayerFormat {
    fn into_name(self) -> String {
        match self {
            Self::Named { format } | Self::Bare(format) => format,
        }
    }
}

/// A text without what some programs leave behind it: NULs up to a fixed length, and blanks.
fn trimmed(text: &[u8]) -> &[u8] {
    let end = text
        .iter()
        .rposition(|&byte| !(byte == 0 || byte.is_ascii_whitespace()));
    &text[..end.map_or(0, |last| last + 1)]
}

/// The format that a text names: JSON, or the bare name of one.
fn layer_format(text: &[u8]) -> Result<String, String> {
    let text = trimmed(text);
    let is_name = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
    let is_bare = text.first().is_some_and(u8::is_ascii_alphabetic) && text.iter().all(is_name);
    if is_bare && text.starts_with(b"float8") {
        return Ok(String::from_utf8_lossy(text).into_owned());
    }
    serde_json::from_slice(text)
        .map(LayerFormat::into_name)
        .map_err(|error| error.to_string())
}

/// Layer and format name of each `comfy_quant` tensor.
pub(super) fn comfy_formats(
    checkpoint: &Checkpoint,
    signs: &Signs<'_>,
) -> Result<Vec<(String, String)>, LoadError> {
    if signs.comfy_quant.is_empty() {
        return Ok(Vec::new());
    }
    let source = Source::open(checkpoint.files())?;
    let mut formats = Vec::new();
    for &(layer, i) in &signs.comfy_quant {
        let unreadable = |message: &str| LoadError::Dialect {
            file: checkpoint.source().into(),
            fault: DialectError::UnreadableFormat {
                layer: layer.into(),
                message: message.into(),
            },
        };
        let entry = &checkpoint.entries()[i];
        if entry.tensor.dtype != ElementType::U8 || entry.tensor.bytes() > MAX_FORMAT_BYTES {
            return Err(unreadable("its comfy_quant tensor is not a short U8 text"));
        }
        let text = source.read(entry)?;
        let format = layer_format(&text).map_err(|error| unreadable(&error))?;
        formats.push((layer.to_owned(), format));
    }
    Ok(formats)
}

/// Layer (without prefix) and format name of each entry in the files' metadata that is about a
/// layer that is needed.
pub(super) fn metadata_formats(
    checkpoint: &Checkpoint,
    prefix: &str,
    is_needed: IsNeeded<'_>,
) -> Result<Vec<(String, String)>, DialectError> {
    #[derive(Deserialize)]
    struct Metadata {
        layers: BTreeMap<String, LayerFormat>,
    }
    let mut formats = Vec::new();
    for file in checkpoint.files() {
        let Some(text) = file.text(METADATA) else {
            continue;
        };
        let parsed: Metadata =
            serde_json::from_slice(trimmed(text.as_bytes())).map_err(|error| {
                DialectError::UnreadableFormat {
                    layer: METADATA.into(),
                    message: Excerpt::new(&error.to_string()),
                }
            })?;
        for (layer, format) in parsed.layers {
            let name = without_prefix(&layer, prefix);
            if !checkpoint.is_elsewhere(&layer) && is_needed(name) {
                formats.push((name.to_owned(), format.into_name()));
            }
        }
    }
    Ok(formats)
}

pub(super) fn check_formats(
    formats: &[(String, String)],
) -> Result<BTreeMap<&str, Fp8Format>, DialectError> {
    let mut checked = BTreeMap::new();
    for (layer, name) in formats {
        let known = [Fp8Format::E4M3, Fp8Format::E5M2]
            .into_iter()
            .find(|&format| format_name(format) == name);
        let format = known.ok_or_else(|| DialectError::UnsupportedFormat {
            layer: layer.into(),
            format: name.into(),
        })?;
        checked.insert(layer.as_str(), format);
    }
    Ok(checked)
}

/// ComfyUI's (and PyTorch's) name of a format.
pub(super) fn format_name(format: Fp8Format) -> &'static str {
    match format {
        Fp8Format::E4M3 => "float8_e4m3fn",
        Fp8Format::E5M2 => "float8_e5m2",
    }
}
