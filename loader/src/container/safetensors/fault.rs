//! Faults in the header of a safetensors file.

use super::{MAX_HEADER_BYTES, MAX_RANK};
use crate::element::ElementType;
use crate::text::Excerpt;

/// A file that is not a complete, consistent safetensors file. One variant for each malformation;
/// [`crate::LoadError::Header`] adds the file's name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HeaderError {
    /// No bytes at all.
    #[error("the file is empty: download it again")]
    Empty,
    /// A git-lfs pointer was checked out in place of the file.
    #[error("this is a git-lfs pointer, not the file itself: run `git lfs pull` in its folder")]
    GitLfsPointer,
    /// A web page was saved in place of the file.
    #[error(
        "this is a web page, not a checkpoint: use the direct download link (a gated model needs \
         a login)"
    )]
    Html,
    /// A PyTorch zip archive (`.ckpt`, `.pt`, `.bin`).
    #[error(
        "this is a zip archive (PyTorch .ckpt/.pt?), not safetensors: download the .safetensors \
         version"
    )]
    ZipArchive,
    /// A bare Python pickle (old PyTorch files).
    #[error("this is a Python pickle, not safetensors: download the .safetensors version")]
    Pickle,
    /// A llama.cpp / ComfyUI-GGUF file.
    #[error("this is a GGUF file, which is not supported: download the .safetensors version")]
    Gguf,
    /// A JSON file such as config.json.
    #[error("this is a JSON file, not a checkpoint: name the .safetensors file or its folder")]
    Json,
    /// Fewer than the 8 bytes that hold the header's length.
    #[error(
        "download incomplete: {found} bytes are less than any safetensors file: download it again"
    )]
    TooShort {
        /// Bytes in the file.
        found: u64,
    },
    /// A header length of zero, as in a file that was allocated but never written.
    #[error("the file begins with zeros, as an interrupted download leaves it: download it again")]
    Blank,
    /// A header length over the format's limit.
    #[error(
        "not a safetensors file, or damaged: its header would be {length} bytes long, the limit is \
         {MAX_HEADER_BYTES}"
    )]
    HeaderTooLarge {
        /// The length that the file claims.
        length: u64,
    },
    /// A header that does not end before the file does.
    #[error(
        "download incomplete: {found} of more than {needed} bytes (the header alone is longer): \
         download it again"
    )]
    HeaderPastEnd {
        /// Bytes in the file.
        found: u64,
        /// Bytes that the header needs.
        needed: u64,
    },
    /// The header does not begin with `{`.
    #[error("not a safetensors file, or damaged: its header does not begin with '{{'")]
    NotAnObject,
    /// The header is not UTF-8.
    #[error("damaged header: it is not UTF-8 text: download the file again")]
    NotUtf8,
    /// The header is not JSON.
    #[error("damaged header: it is not JSON ({message}): download the file again")]
    NotJson {
        /// The JSON parser's message.
        message: Excerpt,
    },
    /// JSON of another structure than a safetensors header has.
    #[error("damaged header: {message}: download the file again")]
    Malformed {
        /// The structure that was found, and its place.
        message: Excerpt,
    },
    /// A tensor lacks its dtype, shape or offsets.
    #[error("damaged header: tensor `{key}` has no {field}: download the file again")]
    MissingField {
        /// The tensor.
        key: Excerpt,
        /// `dtype`, `shape` or `data_offsets`.
        field: &'static str,
    },
    /// A field that the format does not define.
    #[error(
        "tensor `{key}` has the unknown field `{field}`: this program is older than the file, or \
         the file is damaged"
    )]
    UnknownField {
        /// The tensor.
        key: Excerpt,
        /// The field.
        field: Excerpt,
    },
    /// A name occurs twice, so that it is not clear which one is meant.
    #[error("damaged header: `{key}` is listed twice: download the file again")]
    DuplicateKey {
        /// The tensor, field or metadata key.
        key: Excerpt,
    },
    /// A dtype that the format does not define.
    #[error(
        "tensor `{key}` has the unknown dtype `{dtype}`: this program is older than the file, \
         or the file is damaged"
    )]
    UnknownDtype {
        /// The tensor.
        key: Excerpt,
        /// Its dtype.
        dtype: Excerpt,
    },
    /// More dimensions than any tensor has.
    #[error(
        "damaged header: tensor `{key}` has more than {MAX_RANK} dimensions: download the \
         file again"
    )]
    RankTooHigh {
        /// The tensor.
        key: Excerpt,
    },
    /// The product of the dimensions does not fit a machine word.
    #[error("damaged header: the shape of tensor `{key}` overflows: download the file again")]
    ShapeOverflow {
        /// The tensor.
        key: Excerpt,
    },
    /// Elements of less than a byte that do not fill whole bytes.
    #[error(
        "tensor `{key}`: {dtype} elements of shape {shape:?} do not fill whole bytes; such \
         sub-byte formats are not supported"
    )]
    PartialByte {
        /// The tensor.
        key: Excerpt,
        /// Its dtype.
        dtype: ElementType,
        /// Its shape.
        shape: Vec<usize>,
    },
    /// `data_offsets` is not a pair.
    #[error(
        "damaged header: the data_offsets of tensor `{key}` are not two numbers: download the \
         file again"
    )]
    OffsetsNotAPair {
        /// The tensor.
        key: Excerpt,
    },
    /// A tensor that ends before it begins.
    #[error(
        "damaged header: tensor `{key}` begins at byte {begin} and ends at byte {end}: \
         download the file again"
    )]
    InvertedOffsets {
        /// The tensor.
        key: Excerpt,
        /// First byte, from the start of the data.
        begin: u64,
        /// One past the last byte.
        end: u64,
    },
    /// Offsets that do not agree with dtype and shape.
    #[error(
        "damaged header: tensor `{key}` of dtype {dtype} and shape {shape:?} needs {needed} \
         bytes and has {found}: download the file again"
    )]
    SpanMismatch {
        /// The tensor.
        key: Excerpt,
        /// Its dtype.
        dtype: ElementType,
        /// Its shape.
        shape: Vec<usize>,
        /// Bytes by dtype and shape.
        needed: u64,
        /// Bytes by the offsets.
        found: u64,
    },
    /// Two tensors share bytes.
    #[error("damaged header: tensors `{first}` and `{second}` overlap: download the file again")]
    Overlap {
        /// The tensor that begins first.
        first: Excerpt,
        /// The tensor that begins inside it.
        second: Excerpt,
    },
    /// Bytes that belong to no tensor.
    #[error("damaged header: {bytes} unused bytes before tensor `{key}`: download the file again")]
    Gap {
        /// The tensor behind the gap.
        key: Excerpt,
        /// Size of the gap.
        bytes: u64,
    },
    /// The file ends before its tensors do.
    #[error("download incomplete: {found} of {needed} bytes: download it again")]
    Truncated {
        /// Bytes in the file.
        found: u64,
        /// Bytes by its header.
        needed: u64,
    },
    /// The file goes on behind its tensors.
    #[error("damaged file: {found} bytes, but its header accounts for {needed}: download it again")]
    TrailingBytes {
        /// Bytes in the file.
        found: u64,
        /// Bytes by its header.
        needed: u64,
    },
}
