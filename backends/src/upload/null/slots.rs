//! Slots of a device that keeps nothing, which holds both sides to their order.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use burn::tensor::backend::Backend;
use burn::tensor::ops::{FloatTensor, IntTensor};
use burn::tensor::{DType, IntDType, Shape};

use super::NullSink;
use super::state::State;
use crate::upload::{MemoryId, SlotSink, Slots, TensorSink, UploadError};

/// A mark of either side.
#[derive(Debug)]
pub struct NullMark(u64);

/// The computing side: lent tensors are of zeros.
#[derive(Debug)]
pub struct NullSlots {
    state: Arc<Mutex<State>>,
}

impl NullSlots {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<B: Backend> TensorSink<B> for NullSink {
    fn codes(&mut self, memory: MemoryId, shape: &[usize]) -> Result<IntTensor<B>, UploadError> {
        self.state().take(memory, bytes_of(shape, DType::U8))?;
        Ok(zero_codes::<B>(shape))
    }

    fn floats(
        &mut self,
        memory: MemoryId,
        shape: &[usize],
        dtype: DType,
    ) -> Result<FloatTensor<B>, UploadError> {
        self.state().take(memory, bytes_of(shape, dtype))?;
        Ok(zero_floats::<B>(shape, dtype))
    }
}

impl<B: Backend> SlotSink<B> for NullSink {
    type Written = NullMark;
    type Used = NullMark;
    type Slots = NullSlots;

    fn slots(&self) -> NullSlots {
        self.state().make_slots();
        NullSlots {
            state: self.state.clone(),
        }
    }

    fn written(&mut self) -> Result<NullMark, UploadError> {
        Ok(NullMark(self.state().mark()))
    }

    fn write_after(&mut self, used: &NullMark) -> Result<(), UploadError> {
        self.state().write_after(used.0);
        Ok(())
    }

    fn discard(&mut self, memory: MemoryId) {
        self.state().discard(memory);
    }
}

impl<B: Backend> Slots<B> for NullSlots {
    type Written = NullMark;
    type Used = NullMark;

    fn read_after(&self, written: &NullMark) -> Result<(), UploadError> {
        self.state().read_after(written.0);
        Ok(())
    }

    fn codes_in(
        &self,
        memory: MemoryId,
        offset: usize,
        shape: &[usize],
    ) -> Result<IntTensor<B>, UploadError> {
        let bytes = bytes_of(shape, DType::U8);
        self.state().lend(memory, offset, bytes)?;
        Ok(zero_codes::<B>(shape))
    }

    fn floats_in(
        &self,
        memory: MemoryId,
        offset: usize,
        shape: &[usize],
        dtype: DType,
    ) -> Result<FloatTensor<B>, UploadError> {
        self.state().lend(memory, offset, bytes_of(shape, dtype))?;
        Ok(zero_floats::<B>(shape, dtype))
    }

    fn used(&self) -> Result<NullMark, UploadError> {
        Ok(NullMark(self.state().mark()))
    }
}

fn bytes_of(shape: &[usize], dtype: DType) -> usize {
    shape.iter().product::<usize>() * dtype.size()
}

fn zero_codes<B: Backend>(shape: &[usize]) -> IntTensor<B> {
    B::int_zeros(
        Shape::from(shape.to_vec()),
        &B::Device::default(),
        IntDType::U8,
    )
}

fn zero_floats<B: Backend>(shape: &[usize], dtype: DType) -> FloatTensor<B> {
    let shape = Shape::from(shape.to_vec());
    B::float_zeros(shape, &B::Device::default(), dtype.into())
}

#[cfg(all(test, feature = "flex"))]
mod tests {
    use burn_flex::Flex;

    use super::*;
    use crate::upload::{DeviceSink, HostBuffer, Piece, SLOT_ALIGNMENT};

    /// Both sides of one slot of two tensors.
    struct Sides {
        sink: NullSink,
        slots: NullSlots,
        memory: MemoryId,
    }

    /// Bytes of each tensor.
    const BYTES: usize = SLOT_ALIGNMENT;

    impl Sides {
        fn new() -> Self {
            let mut sink = NullSink::new();
            let memory = sink.allocate(2 * BYTES).expect("room");
            Self {
                slots: SlotSink::<Flex>::slots(&sink),
                sink,
                memory,
            }
        }

        fn write(&mut self, tensor: usize) -> Result<(), UploadError> {
            let piece = Piece {
                memory: self.memory,
                offset: tensor * BYTES,
                source: 0..BYTES,
            };
            let buffer = HostBuffer::new(BYTES).expect("a page");
            self.sink.write(buffer, &[piece])
        }

        fn lend(&self, tensor: usize) -> Result<(), UploadError> {
            let offset = tensor * BYTES;
            Slots::<Flex>::codes_in(&self.slots, self.memory, offset, &[BYTES]).map(drop)
        }

        fn written(&mut self) -> NullMark {
            SlotSink::<Flex>::written(&mut self.sink).expect("no device")
        }

        fn read_after(&self, written: &NullMark) {
            Slots::<Flex>::read_after(&self.slots, written).expect("no device");
        }

        fn used(&self) -> NullMark {
            Slots::<Flex>::used(&self.slots).expect("no device")
        }

        fn write_after(&mut self, used: &NullMark) {
            SlotSink::<Flex>::write_after(&mut self.sink, used).expect("no device");
        }

        /// Fills the slot, lends all of it, and gives the mark behind its use.
        fn use_once(&mut self) -> NullMark {
            for tensor in 0..2 {
                self.write(tensor).expect("in order");
            }
            let written = self.written();
            self.read_after(&written);
            for tensor in 0..2 {
                self.lend(tensor).expect("in order");
            }
            self.used()
        }
    }

    const WRITTEN_IN_USE: Result<(), UploadError> = Err(UploadError::WrittenInUse { memory: 0 });
    const READ_UNWRITTEN: Result<(), UploadError> = Err(UploadError::ReadUnwritten { memory: 0 });

    #[test]
    fn slots_are_filled_and_lent_again_and_again() {
        let mut sides = Sides::new();
        for round in 1..=3 {
            let used = sides.use_once();
            sides.write_after(&used);
            assert_eq!(sides.sink.bytes_written(), round * 2 * BYTES as u64);
        }
        assert_eq!(sides.sink.finish(), Ok(()), "slots need not be full");
    }

    #[test]
    fn a_slot_is_not_written_before_its_use_was_waited_for() {
        let mut sides = Sides::new();
        let first = sides.use_once();
        assert_eq!(sides.write(0), WRITTEN_IN_USE, "no mark was waited for");
        sides.write_after(&first);
        let second = sides.use_once();
        assert_eq!(sides.write(1), WRITTEN_IN_USE, "a mark before the use");
        sides.write_after(&first);
        assert_eq!(sides.write(1), WRITTEN_IN_USE, "that mark again");
        sides.write_after(&second);
        assert_eq!(sides.write(1), Ok(()));
    }

    #[test]
    fn a_mark_before_the_last_tensor_was_lent_is_too_early() {
        let mut sides = Sides::new();
        let used = sides.use_once();
        sides.lend(1).expect("its bytes are still there");
        sides.write_after(&used);
        assert_eq!(sides.write(0), WRITTEN_IN_USE);
    }

    #[test]
    fn a_slot_is_not_lent_before_its_bytes_were_waited_for() {
        let mut sides = Sides::new();
        assert_eq!(sides.lend(0), READ_UNWRITTEN, "no bytes");
        let early = sides.written();
        sides.write(0).expect("in order");
        assert_eq!(sides.lend(0), READ_UNWRITTEN, "no mark");
        sides.read_after(&early);
        assert_eq!(sides.lend(0), READ_UNWRITTEN, "a mark before the bytes");
        let written = sides.written();
        assert_eq!(sides.lend(0), READ_UNWRITTEN, "that no one waited for");
        sides.read_after(&written);
        assert_eq!(sides.lend(0), Ok(()));
        assert_eq!(sides.lend(1), READ_UNWRITTEN, "other bytes of the slot");
    }

    #[test]
    fn bytes_of_the_last_round_are_not_lent_in_the_next() {
        let mut sides = Sides::new();
        let used = sides.use_once();
        sides.write_after(&used);
        sides.write(0).expect("in order");
        let written = sides.written();
        sides.read_after(&written);
        sides.lend(0).expect("new bytes");
        assert_eq!(sides.lend(1), READ_UNWRITTEN, "old bytes");
    }

    #[test]
    fn a_slot_is_not_filled_twice_without_a_use() {
        let mut sides = Sides::new();
        sides.write(0).expect("in order");
        let again = sides.write(0);
        assert!(
            matches!(again, Err(UploadError::Uneven { .. })),
            "{again:?}"
        );
    }

    #[test]
    fn bytes_that_nothing_uses_may_be_given_up() {
        let mut sides = Sides::new();
        sides.write(0).expect("in order");
        SlotSink::<Flex>::discard(&mut sides.sink, sides.memory);
        let used = sides.use_once();
        SlotSink::<Flex>::discard(&mut sides.sink, sides.memory);
        assert_eq!(sides.write(0), WRITTEN_IN_USE, "it is used still");
        sides.write_after(&used);
        SlotSink::<Flex>::discard(&mut sides.sink, sides.memory);
        assert_eq!(sides.write(0), Ok(()));
    }

    #[test]
    fn tensors_lie_in_their_slot_and_are_aligned() {
        let mut sides = Sides::new();
        sides.use_once();
        for (offset, bytes) in [(0, 2 * BYTES + 1), (2 * BYTES, 1), (1, 1), (BYTES / 2, 1)] {
            let lent = Slots::<Flex>::codes_in(&sides.slots, sides.memory, offset, &[bytes]);
            let error = lent.map(drop).expect_err("outside");
            assert!(matches!(error, UploadError::OutOfBounds { .. }), "{offset}");
        }
    }
}
