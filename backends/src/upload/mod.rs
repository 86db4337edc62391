//! Bytes on their way into a device's memory: a ring of a few host buffers, whatever the amount.
//!
//! A reader fills a [`HostBuffer`], hands it to [`DeviceSink::write`] with the places that its
//! parts go to, and gets it back from [`DeviceSink::reclaim`] once the device has read it. Until
//! then the sink owns the buffer, so that nobody can change what is still being copied; and when
//! all buffers are with the sink, the reader has to wait: that is all the flow control there is.

#[cfg(any(feature = "cuda", test))]
mod allowance;
mod host_buffer;
mod null;
mod slots;

use std::ops::Range;

use burn::tensor::DType;
use burn::tensor::backend::Backend;
use burn::tensor::ops::{FloatTensor, IntTensor};

#[cfg(feature = "cuda")]
pub(crate) use allowance::Allowance;
pub use host_buffer::HostBuffer;
pub use null::{NullMark, NullSink, NullSlots};
pub(crate) use slots::end_of;
pub use slots::{SLOT_ALIGNMENT, SlotSink, Slots};

/// The memory of one tensor in a sink, by its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct MemoryId(usize);

/// A part of a buffer, and its place in the memory of a tensor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// The memory.
    pub memory: MemoryId,
    /// The place in that memory where it begins, in bytes.
    pub offset: usize,
    /// The bytes of the buffer.
    pub source: Range<usize>,
}

/// The reasons why bytes do not arrive.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UploadError {
    /// The device has no room for one more tensor.
    #[error("out of memory: {needed} bytes more are needed and {free} are free")]
    OutOfMemory {
        /// Bytes of the allocation that failed.
        needed: u64,
        /// Bytes that are free.
        free: u64,
    },
    /// The system has no memory for a host buffer.
    #[error("no host memory for a buffer of {needed} bytes")]
    HostMemory {
        /// Bytes of the buffer.
        needed: u64,
    },
    /// The driver reports a failure.
    #[error("the device fails: {0}")]
    Device(String),
    /// A piece that lies outside its buffer or its memory, or memory that is not there.
    #[error("bytes {start}..{end} of tensor {memory} are outside of it")]
    OutOfBounds {
        /// The memory's number.
        memory: usize,
        /// First byte.
        start: u64,
        /// Past the last byte.
        end: u64,
    },
    /// Bytes that arrived twice, or not at all; only [`NullSink`] looks.
    #[error("tensor {memory} received {received} of its {expected} bytes")]
    Uneven {
        /// The memory's number.
        memory: usize,
        /// Bytes that arrived.
        received: u64,
        /// Bytes that it has.
        expected: u64,
    },
    /// Bytes that would replace others before the device has done with them; only [`NullSink`]
    /// looks.
    #[error("tensor {memory} is written before the work that uses it was waited for")]
    WrittenInUse {
        /// The memory's number.
        memory: usize,
    },
    /// Bytes that would be read before they have arrived; only [`NullSink`] looks.
    #[error("tensor {memory} is read before its bytes were waited for")]
    ReadUnwritten {
        /// The memory's number.
        memory: usize,
    },
}

/// Takes tensors' bytes into a device's memory.
///
/// Dropping a sink frees what no tensor was made of, after the copies under way have ended.
pub trait DeviceSink {
    /// Takes memory for a tensor; its contents are undefined until they are written.
    ///
    /// # Errors
    /// [`UploadError::OutOfMemory`] where the device would have to refuse.
    fn allocate(&mut self, bytes: usize) -> Result<MemoryId, UploadError>;

    /// A buffer of the ring, in memory that the device copies from at full speed where the
    /// system grants such memory.
    ///
    /// # Errors
    /// [`UploadError::HostMemory`].
    fn host_buffer(&mut self, bytes: usize) -> Result<HostBuffer, UploadError> {
        HostBuffer::new(bytes)
    }

    /// Starts to copy pieces of a buffer to their places.
    ///
    /// # Errors
    /// A piece out of bounds, or a failing device. The buffer is gone then.
    fn write(&mut self, buffer: HostBuffer, pieces: &[Piece]) -> Result<(), UploadError>;

    /// A buffer whose copies have ended: the oldest, waiting for it with `wait`, else one that
    /// has ended already. `None` if there is none.
    ///
    /// # Errors
    /// A failing device.
    fn reclaim(&mut self, wait: bool) -> Result<Option<HostBuffer>, UploadError>;

    /// Waits until every byte is in its place.
    ///
    /// # Errors
    /// A failing device.
    fn finish(&mut self) -> Result<(), UploadError>;
}

/// A sink whose memory becomes tensors of a backend. Take them after [`DeviceSink::finish`].
pub trait TensorSink<B: Backend>: DeviceSink {
    /// Makes a U8 tensor of the memory.
    ///
    /// # Errors
    /// [`UploadError::OutOfBounds`] if the memory was taken before or is of another size.
    fn codes(&mut self, memory: MemoryId, shape: &[usize]) -> Result<IntTensor<B>, UploadError>;

    /// Makes a float tensor of the memory.
    ///
    /// # Errors
    /// The same as of [`codes`](Self::codes).
    fn floats(
        &mut self,
        memory: MemoryId,
        shape: &[usize],
        dtype: DType,
    ) -> Result<FloatTensor<B>, UploadError>;
}

impl MemoryId {
    /// The memory that a sink took as its `index`th.
    pub fn new(index: usize) -> Self {
        Self(index)
    }

    /// Its place in the order in which a sink took memory.
    pub fn index(self) -> usize {
        self.0
    }
}

impl Piece {
    /// Checks that the piece lies in its buffer and in its memory of `size` bytes (`None` if
    /// there is no such memory); gives the bytes to copy.
    pub(crate) fn of<'a>(
        &self,
        buffer: &'a [u8],
        size: Option<usize>,
    ) -> Result<&'a [u8], UploadError> {
        let end = self.offset.checked_add(self.source.len());
        let fits = end.zip(size).is_some_and(|(end, size)| end <= size);
        let bytes = buffer.get(self.source.clone()).filter(|_| fits);
        bytes.ok_or(UploadError::OutOfBounds {
            memory: self.memory.0,
            start: self.offset as u64,
            end: self.offset.saturating_add(self.source.len()) as u64,
        })
    }
}

/// The error for memory that is not there, or not of the size of the tensor it is to become.
pub(crate) fn not_of_size(memory: MemoryId, bytes: usize) -> UploadError {
    UploadError::OutOfBounds {
        memory: memory.0,
        start: 0,
        end: bytes as u64,
    }
}
