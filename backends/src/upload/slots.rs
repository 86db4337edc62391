//! Memory whose bytes are replaced again and again while the device computes with it.
//!
//! A *slot* is memory of a sink that no tensor is ever made of: tensors are lent over its parts for
//! a while, then other bytes take their place. Two sides share the slots, and may run on two
//! threads. The sink writes; [`Slots`] lends what was written. Each side tells the other what it
//! has given to the device so far by a mark, and each mark is waited for on the device, so that
//! neither host nor device stands still longer than the bytes demand:
//!
//! ```text
//! writing side                     computing side
//! write, write, …
//! written            ── mark ──►   read_after
//!                                  codes_in, floats_in, and work with these tensors
//! write_after        ◄── mark ──   used
//! write, write, …
//! ```

use burn::tensor::DType;
use burn::tensor::backend::Backend;
use burn::tensor::ops::{FloatTensor, IntTensor};

use super::{MemoryId, TensorSink, UploadError};

/// The bytes that the offset of a lent tensor in its memory must be a multiple of: what kernels,
/// matrix libraries and the bindings of portable GPUs ask of an address.
pub const SLOT_ALIGNMENT: usize = 256;

/// A sink whose memory can be slots: the writing side.
///
/// Where [`COPIES_BESIDE`](crate::DeviceStorage::COPIES_BESIDE) is true, a sink that has its memory
/// and its [`slots`](Self::slots) may go to a thread that only writes. Memory is allocated by the
/// thread that computes: device and computing thread may be one, and would wait for each other.
pub trait SlotSink<B: Backend>: TensorSink<B> {
    /// A point behind all bytes that the sink was given before.
    type Written: Send + 'static;
    /// A point behind all work that the device was given before.
    type Used: Send + 'static;
    /// The computing side.
    type Slots: Slots<B, Written = Self::Written, Used = Self::Used>;

    /// Makes the computing side of all memory that the sink has now and that is no tensor. It
    /// keeps that memory, also when the sink is dropped.
    fn slots(&self) -> Self::Slots;

    /// Marks the bytes that the sink was given so far.
    ///
    /// # Errors
    /// A failing device.
    fn written(&mut self) -> Result<Self::Written, UploadError>;

    /// Makes all bytes that the sink is given later wait, on the device, for the work in front of
    /// a mark.
    ///
    /// # Errors
    /// A failing device.
    fn write_after(&mut self, used: &Self::Used) -> Result<(), UploadError>;

    /// Gives up the bytes of a slot, of which some may be missing: others are written next.
    fn discard(&mut self, memory: MemoryId) {
        let _ = memory;
    }
}

/// The computing side of a sink's slots.
///
/// A tensor is lent after [`read_after`](Self::read_after), by the thread that computes with it,
/// and is dropped before [`used`](Self::used); it may show other bytes from then on.
pub trait Slots<B: Backend>: Send + 'static {
    /// The mark of the writing side.
    type Written: Send + 'static;
    /// The mark of this side.
    type Used: Send + 'static;

    /// Makes all work that this thread gives to the device later wait, on the device, for the
    /// bytes in front of a mark.
    ///
    /// # Errors
    /// A failing device.
    fn read_after(&self, written: &Self::Written) -> Result<(), UploadError>;

    /// Lends a U8 tensor over the bytes of a memory from `offset` on, a multiple of
    /// [`SLOT_ALIGNMENT`].
    ///
    /// # Errors
    /// [`UploadError::OutOfBounds`] if the memory ends before the tensor, or the offset is no such
    /// multiple.
    fn codes_in(
        &self,
        memory: MemoryId,
        offset: usize,
        shape: &[usize],
    ) -> Result<IntTensor<B>, UploadError>;

    /// Lends a float tensor, like [`codes_in`](Self::codes_in).
    ///
    /// # Errors
    /// The same.
    fn floats_in(
        &self,
        memory: MemoryId,
        offset: usize,
        shape: &[usize],
        dtype: DType,
    ) -> Result<FloatTensor<B>, UploadError>;

    /// Marks all work that the device was given so far.
    ///
    /// # Errors
    /// A failing device.
    fn used(&self) -> Result<Self::Used, UploadError>;

    /// Tells, without waiting, whether the device has done all work in front of a mark. Also true
    /// where it cannot be told.
    fn has_passed(&self, used: &Self::Used) -> bool {
        let _ = used;
        true
    }

    /// The number of the device's queues of work that the marks tell apart from copies. 0 where
    /// they do not, so that nothing is copied while the device computes.
    fn queues(&self) -> usize {
        0
    }
}

/// Checks that a tensor of `bytes` bytes at `offset` lies in memory of `size` bytes (`None` if
/// there is no such memory); gives the offset past its end.
pub(crate) fn end_of(
    memory: MemoryId,
    offset: usize,
    bytes: usize,
    size: Option<usize>,
) -> Result<usize, UploadError> {
    let end = offset.checked_add(bytes);
    let end = end.filter(|end| size.is_some_and(|size| *end <= size));
    end.filter(|_| offset.is_multiple_of(SLOT_ALIGNMENT))
        .ok_or(UploadError::OutOfBounds {
            memory: memory.index(),
            start: offset as u64,
            end: offset.saturating_add(bytes) as u64,
        })
}
