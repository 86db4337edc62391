//! safetensors: the header of a file, read within bounds and checked in full before anything else
//! happens with the file.
//!
//! Layout (the README of the `safetensors` project): 8 bytes with the header's
//! length `n` in little-endian order; `n` bytes of JSON, `{"name": {"dtype", "shape",
//! "data_offsets": [begin, end]}, "__metadata__": {text: text}}`; then the tensors, without gaps.

mod fault;
mod json;
mod sniff;

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::Path;

pub use fault::HeaderError;

use super::{Container, FileVersion, TensorEntry, file_metadata};
use crate::error::LoadError;
use crate::text::Excerpt;

/// The longest header that is read: the limit of the safetensors format.
pub const MAX_HEADER_BYTES: u64 = 100_000_000;

/// The most dimensions that a tensor may have. Convolutions over video have 5.
pub const MAX_RANK: usize = 8;

/// The ending of the files' names.
pub(crate) const ENDING: &str = ".safetensors";

/// Bytes before the JSON text.
const LENGTH_BYTES: u64 = 8;

/// Bytes that suffice to tell what a foreign file is.
const SNIFF_BYTES: u64 = 512;

/// The validated contents of a header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// The tensors in the order of their bytes in the file.
    pub tensors: Vec<TensorEntry>,
    /// `__metadata__`, empty if there is none.
    pub metadata: BTreeMap<String, String>,
    /// The offset of the first tensor from the start of the file.
    pub data_start: u64,
    /// Which version of the file it is the header of; of bytes, only the length.
    pub version: FileVersion,
}

impl Container for Header {
    fn tensors(&self) -> &[TensorEntry] {
        &self.tensors
    }

    fn text(&self, key: &str) -> Option<&str> {
        self.metadata.get(key).map(String::as_str)
    }

    fn version(&self) -> FileVersion {
        self.version
    }
}

impl Header {
    /// Reads and checks the header of a file.
    ///
    /// # Errors
    /// [`LoadError::Header`] for a file that is not safetensors, incomplete or inconsistent;
    /// otherwise what keeps it from being read.
    pub fn open(path: &Path) -> Result<Self, LoadError> {
        file_metadata(path)?;
        let fault = |fault| LoadError::Header {
            file: path.to_path_buf(),
            fault,
        };
        let io = |error| LoadError::io(path, error);
        let mut file = File::open(path).map_err(io)?;
        let version = FileVersion::of(&file.metadata().map_err(io)?);
        let mut start = Vec::new();
        let mut reader = Read::by_ref(&mut file).take(SNIFF_BYTES);
        reader.read_to_end(&mut start).map_err(io)?;

        let length = header_length(&start, version.len).map_err(fault)?;
        // `length` is now known to be within the limit and within the file.
        let mut json = start.split_off(LENGTH_BYTES as usize);
        json.truncate(length as usize);
        let rest = length - json.len() as u64;
        json.reserve_exact(rest as usize);
        file.take(rest).read_to_end(&mut json).map_err(io)?;
        if json.len() as u64 != length {
            return Err(LoadError::Changed {
                file: path.to_path_buf(),
            });
        }
        Self::parse(&json, version).map_err(fault)
    }

    /// Reads and checks the header at the start of the bytes of a whole file.
    ///
    /// # Errors
    /// Says what is wrong with the file.
    pub fn from_bytes(file: &[u8]) -> Result<Self, HeaderError> {
        let length = header_length(file, file.len() as u64)?;
        // Within the file, so within `usize`.
        let end = (LENGTH_BYTES + length) as usize;
        let version = FileVersion {
            len: file.len() as u64,
            ..FileVersion::default()
        };
        Self::parse(&file[LENGTH_BYTES as usize..end], version)
    }

    /// Checks the JSON text of a header against the size of its file.
    fn parse(json: &[u8], version: FileVersion) -> Result<Self, HeaderError> {
        let file_len = version.len;
        let raw = json::parse(json)?;
        let data_start = LENGTH_BYTES + json.len() as u64;
        refuse_duplicates(&raw.tensors)?;
        let mut tensors = raw.tensors;
        for tensor in &tensors {
            check_span(tensor)?;
        }
        // Empty tensors share their offset with their neighbour: the end decides.
        tensors.sort_by_key(|tensor| tensor.offsets);
        let data_len = check_coverage(&tensors)?;

        let needed = data_start.saturating_add(data_len);
        if file_len < needed {
            return Err(HeaderError::Truncated {
                found: file_len,
                needed,
            });
        }
        if file_len > needed {
            return Err(HeaderError::TrailingBytes {
                found: file_len,
                needed,
            });
        }
        let tensors = tensors.into_iter().map(|tensor| {
            let [begin, end] = tensor.offsets;
            TensorEntry {
                key: tensor.key,
                dtype: tensor.dtype,
                shape: tensor.shape,
                range: data_start + begin..data_start + end,
            }
        });
        Ok(Self {
            tensors: tensors.collect(),
            metadata: raw.metadata,
            data_start,
            version,
        })
    }
}

/// The length of the JSON text, checked against the format's limit and the file's size, given the
/// first bytes of the file.
fn header_length(start: &[u8], file_len: u64) -> Result<u64, HeaderError> {
    if start.is_empty() {
        return Err(HeaderError::Empty);
    }
    let explained = |fault| Err(sniff::foreign_format(start).unwrap_or(fault));
    let Some((length, json)) = start.split_first_chunk() else {
        return explained(HeaderError::TooShort { found: file_len });
    };
    let length = u64::from_le_bytes(*length);
    if length == 0 {
        return Err(HeaderError::Blank);
    }
    if length > MAX_HEADER_BYTES {
        return explained(HeaderError::HeaderTooLarge { length });
    }
    // The format demands the brace as the very first byte. Without it this is no interrupted
    // download, but something else.
    if json.first().is_some_and(|&first| first != b'{') {
        return explained(HeaderError::NotAnObject);
    }
    let needed = LENGTH_BYTES + length;
    if needed > file_len {
        return explained(HeaderError::HeaderPastEnd {
            found: file_len,
            needed,
        });
    }
    Ok(length)
}

fn refuse_duplicates(tensors: &[json::RawTensor]) -> Result<(), HeaderError> {
    let mut keys: Vec<&str> = tensors.iter().map(|tensor| tensor.key.as_str()).collect();
    keys.sort_unstable();
    match keys.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => Err(HeaderError::DuplicateKey {
            key: Excerpt::new(pair[0]),
        }),
        None => Ok(()),
    }
}

/// Checks one tensor's offsets against its dtype and shape.
fn check_span(tensor: &json::RawTensor) -> Result<(), HeaderError> {
    let key = || Excerpt::new(&tensor.key);
    let block = tensor.dtype.block();
    let mut dims = tensor.shape.iter();
    let elements = dims.try_fold(1usize, |elements, &dim| elements.checked_mul(dim));
    let bytes = elements.and_then(|elements| (elements / block.elements).checked_mul(block.bytes));
    let (Some(elements), Some(needed)) = (elements, bytes) else {
        return Err(HeaderError::ShapeOverflow { key: key() });
    };
    if !elements.is_multiple_of(block.elements) {
        return Err(HeaderError::PartialByte {
            key: key(),
            dtype: tensor.dtype,
            shape: tensor.shape.clone(),
        });
    }
    let needed = needed as u64;
    let [begin, end] = tensor.offsets;
    let found = end
        .checked_sub(begin)
        .ok_or_else(|| HeaderError::InvertedOffsets {
            key: key(),
            begin,
            end,
        })?;
    if found != needed {
        return Err(HeaderError::SpanMismatch {
            key: key(),
            dtype: tensor.dtype,
            shape: tensor.shape.clone(),
            needed,
            found,
        });
    }
    Ok(())
}

/// Checks that the tensors, sorted by offset, follow each other from 0; returns their total size.
fn check_coverage(tensors: &[json::RawTensor]) -> Result<u64, HeaderError> {
    let mut covered = 0;
    let mut previous: Option<&json::RawTensor> = None;
    for tensor in tensors {
        let [begin, end] = tensor.offsets;
        if begin > covered {
            return Err(HeaderError::Gap {
                key: Excerpt::new(&tensor.key),
                bytes: begin - covered,
            });
        }
        if let Some(previous) = previous
            && begin < covered
        {
            return Err(HeaderError::Overlap {
                first: Excerpt::new(&previous.key),
                second: Excerpt::new(&tensor.key),
            });
        }
        covered = end;
        previous = Some(tensor);
    }
    Ok(covered)
}
