//! The place of each tensor of a list in its file.

use std::collections::HashSet;
use std::ops::Range;

use safetensors::tensor::{Metadata, TensorInfo};

use crate::element::ElementType;
use crate::published::{TensorSpec, WriteFault};
use crate::text::Excerpt;

/// The header's length is padded to a multiple of this many bytes, which aligns the data.
const ALIGNMENT: usize = 8;

/// A list of tensors in the order in which the `safetensors` library writes them, and their
/// header: by dtype, the widest first, then by name.
#[derive(Clone, Debug)]
pub struct Layout {
    tensors: Vec<TensorSpec>,
    /// Bytes from the start of the file, one range for each tensor.
    ranges: Vec<Range<u64>>,
    /// The length and the JSON text.
    header: Vec<u8>,
}

impl Layout {
    /// Orders tensors and writes their header.
    ///
    /// # Errors
    /// [`WriteFault::SameKey`]; [`WriteFault::TooLarge`]; [`WriteFault::UnsupportedDtype`] for
    /// anything but F8_E4M3, BF16 and F32.
    pub fn new(mut tensors: Vec<TensorSpec>) -> Result<Self, WriteFault> {
        let mut keys = HashSet::new();
        if let Some(twice) = tensors.iter().find(|tensor| !keys.insert(&tensor.key)) {
            return Err(WriteFault::SameKey(Excerpt::new(&twice.key)));
        }
        tensors.sort_by(|a, b| b.dtype.cmp(&a.dtype).then_with(|| a.key.cmp(&b.key)));
        let mut end = 0usize;
        let mut infos = Vec::with_capacity(tensors.len());
        for tensor in &tensors {
            let begin = end;
            let too_large = || WriteFault::TooLarge(Excerpt::new(&tensor.key));
            let dtype = dtype(tensor)?;
            let bytes = bytes(tensor).ok_or_else(too_large)?;
            end = begin.checked_add(bytes).ok_or_else(too_large)?;
            let info = TensorInfo {
                dtype,
                shape: tensor.shape.clone(),
                data_offsets: (begin, end),
            };
            infos.push((tensor.key.clone(), info));
        }
        let offsets: Vec<_> = infos.iter().map(|(_, info)| info.data_offsets).collect();
        let header = header(infos)?;
        let start = header.len() as u64;
        let ranges = offsets
            .iter()
            .map(|&(begin, end)| start + begin as u64..start + end as u64);
        Ok(Self {
            ranges: ranges.collect(),
            tensors,
            header,
        })
    }

    /// The tensors in the order of their bytes, each with its place in the file.
    pub fn tensors(&self) -> impl ExactSizeIterator<Item = (&TensorSpec, Range<u64>)> {
        self.tensors.iter().zip(self.ranges.iter().cloned())
    }

    /// The first bytes of the file: the header's length, its JSON text and its padding.
    pub fn header(&self) -> &[u8] {
        &self.header
    }

    /// Size of the whole file in bytes.
    pub fn file_len(&self) -> u64 {
        let end = self.ranges.last().map(|range| range.end);
        end.unwrap_or(self.header.len() as u64)
    }
}

/// Size of a tensor in bytes, or `None` if that overflows.
fn bytes(tensor: &TensorSpec) -> Option<usize> {
    let mut sizes = tensor.shape.iter();
    let element = tensor.dtype.block().bytes;
    sizes.try_fold(element, |bytes, &size| bytes.checked_mul(size))
}

/// The type of a tensor's elements as the `safetensors` library has it.
pub(super) fn dtype(tensor: &TensorSpec) -> Result<safetensors::Dtype, WriteFault> {
    match tensor.dtype {
        ElementType::F8E4M3 => Ok(safetensors::Dtype::F8_E4M3),
        ElementType::BF16 => Ok(safetensors::Dtype::BF16),
        ElementType::F32 => Ok(safetensors::Dtype::F32),
        dtype => Err(WriteFault::UnsupportedDtype {
            key: Excerpt::new(&tensor.key),
            dtype,
        }),
    }
}

/// The header's length and its padded text.
fn header(infos: Vec<(String, TensorInfo)>) -> Result<Vec<u8>, WriteFault> {
    let refused = |error: &dyn std::fmt::Display| std::io::Error::other(error.to_string());
    let metadata = Metadata::new(None, infos).map_err(|error| refused(&error))?;
    let mut json = serde_json::to_vec(&metadata).map_err(|error| refused(&error))?;
    json.resize(json.len().next_multiple_of(ALIGNMENT), b' ');
    let mut header = (json.len() as u64).to_le_bytes().to_vec();
    header.append(&mut json);
    Ok(header)
}
