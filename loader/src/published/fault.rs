//! Why a file of a list of tensors is not written.

use std::io;
use std::path::PathBuf;

use crate::element::ElementType;
use crate::text::{Excerpt, shown};

/// Why a file is not written. One line that names it and says what to do.
#[derive(Debug, thiserror::Error)]
#[error("{}: {fault}", shown(path))]
pub struct WriteError {
    /// The file as it would have been named.
    pub path: PathBuf,
    /// The reason.
    pub fault: WriteFault,
}

/// The reason why a file is not written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WriteFault {
    /// Something of that name is there and is to be kept.
    #[error("is there already")]
    Exists,
    /// The disk has too little room.
    #[error(
        "{needed} bytes are needed and {free} are free on that disk; make room, or name a folder \
         on another disk"
    )]
    NoSpace {
        /// Bytes to be written.
        needed: u64,
        /// Bytes that may be written.
        free: u64,
    },
    /// The system refuses.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// Two tensors of one name.
    #[error("tensor `{0}` is listed twice")]
    SameKey(Excerpt),
    /// A tensor, or the tensors together, of more bytes than a file can have.
    #[error("tensor `{0}` makes the file larger than any file can be")]
    TooLarge(Excerpt),
    /// A dtype for which there are no random values.
    #[error("tensor `{key}`: no weights are made as {dtype}; use F8_E4M3, BF16 or F32")]
    UnsupportedDtype {
        /// The tensor.
        key: Excerpt,
        /// Its dtype.
        dtype: ElementType,
    },
    /// The observer asked to stop.
    #[error("cancelled")]
    Cancelled,
}
