//! The processor's own memory as the device: tensors that are read, not mapped.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use burn::tensor::ops::{FloatTensor, IntTensor};
use burn::tensor::{AllocationProperty, Bytes, DType, TensorData};
use burn_flex::{Flex, FlexDevice};

use crate::host_memory;
use crate::upload::{
    DeviceSink, HostBuffer, MemoryId, Piece, SlotSink, Slots, TensorSink, UploadError, end_of,
    not_of_size,
};

/// Tensors in anonymous memory of this process.
#[derive(Debug)]
pub struct HostSink {
    memories: Memories,
    buffers: VecDeque<HostBuffer>,
    /// Bytes that may still be taken, where the system tells.
    free: Option<u64>,
}

/// Both sides of slots share the memory.
#[derive(Clone, Debug, Default)]
struct Memories(Arc<Mutex<Vec<Option<Memory>>>>);

#[derive(Debug)]
struct Memory {
    bytes: usize,
    storage: HostBuffer,
}

impl Memories {
    fn lock(&self) -> MutexGuard<'_, Vec<Option<Memory>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Copies a tensor's bytes out of memory.
    fn copied(
        &self,
        memory: MemoryId,
        offset: usize,
        shape: &[usize],
        dtype: DType,
    ) -> Result<TensorData, UploadError> {
        let memories = self.lock();
        let found = memories.get(memory.index()).and_then(Option::as_ref);
        let end = end_of(
            memory,
            offset,
            bytes_of(shape, dtype),
            found.map(|found| found.bytes),
        )?;
        let bytes = found.map_or(&[][..], |found| &found.storage[offset..end]);
        let bytes = Bytes::from_bytes_vec(bytes.to_vec());
        Ok(TensorData::from_bytes(bytes, shape.to_vec(), dtype))
    }
}

fn bytes_of(shape: &[usize], dtype: DType) -> usize {
    shape.iter().product::<usize>() * dtype.size()
}

impl HostSink {
    /// A sink that takes at most what the system can give now without swapping.
    pub fn new() -> Self {
        Self {
            memories: Memories::default(),
            buffers: VecDeque::new(),
            free: host_memory::available(),
        }
    }

    fn take(
        &mut self,
        memory: MemoryId,
        shape: &[usize],
        dtype: DType,
    ) -> Result<TensorData, UploadError> {
        let bytes = bytes_of(shape, dtype);
        let mut memories = self.memories.lock();
        let taken = memories.get_mut(memory.index()).and_then(Option::take);
        let taken = taken.filter(|taken| taken.bytes == bytes);
        let storage = taken.ok_or_else(|| not_of_size(memory, bytes))?.storage;
        let shared = bytes::Bytes::from_owner(storage).slice(..bytes);
        let shared = Bytes::from_shared(shared, AllocationProperty::Other);
        Ok(TensorData::from_bytes(shared, shape.to_vec(), dtype))
    }
}

impl Default for HostSink {
    fn default() -> Self {
        Self::new()
    }
}

impl DeviceSink for HostSink {
    fn allocate(&mut self, bytes: usize) -> Result<MemoryId, UploadError> {
        let needed = bytes as u64;
        if let Some(free) = &mut self.free {
            if needed > *free {
                return Err(UploadError::OutOfMemory {
                    needed,
                    free: *free,
                });
            }
            *free -= needed;
        }
        let storage = HostBuffer::new(bytes)?;
        let mut memories = self.memories.lock();
        memories.push(Some(Memory { bytes, storage }));
        Ok(MemoryId::new(memories.len() - 1))
    }

    fn write(&mut self, buffer: HostBuffer, pieces: &[Piece]) -> Result<(), UploadError> {
        let mut memories = self.memories.lock();
        for piece in pieces {
            let memory = memories.get_mut(piece.memory.index());
            let memory = memory.and_then(Option::as_mut);
            let size = memory.as_ref().map(|memory| memory.bytes);
            let bytes = piece.of(&buffer, size)?;
            if let Some(memory) = memory {
                memory.storage[piece.offset..piece.offset + bytes.len()].copy_from_slice(bytes);
            }
        }
        drop(memories);
        self.buffers.push_back(buffer);
        Ok(())
    }

    fn reclaim(&mut self, _wait: bool) -> Result<Option<HostBuffer>, UploadError> {
        Ok(self.buffers.pop_front())
    }

    fn finish(&mut self) -> Result<(), UploadError> {
        Ok(())
    }
}

impl TensorSink<Flex> for HostSink {
    fn codes(&mut self, memory: MemoryId, shape: &[usize]) -> Result<IntTensor<Flex>, UploadError> {
        use burn::tensor::ops::IntTensorOps;
        let data = self.take(memory, shape, DType::U8)?;
        Ok(Flex::int_from_data(data, &FlexDevice))
    }

    fn floats(
        &mut self,
        memory: MemoryId,
        shape: &[usize],
        dtype: DType,
    ) -> Result<FloatTensor<Flex>, UploadError> {
        use burn::tensor::ops::FloatTensorOps;
        let data = self.take(memory, shape, dtype)?;
        Ok(Flex::float_from_data(data, &FlexDevice))
    }
}

/// A copy that has returned has ended, and so has work that has returned.
impl SlotSink<Flex> for HostSink {
    type Written = ();
    type Used = ();
    type Slots = HostSlots;

    fn slots(&self) -> HostSlots {
        HostSlots(self.memories.clone())
    }

    fn written(&mut self) -> Result<(), UploadError> {
        Ok(())
    }

    fn write_after(&mut self, _used: &()) -> Result<(), UploadError> {
        Ok(())
    }
}

/// Lends copies of a sink's memory.
#[derive(Debug)]
pub struct HostSlots(Memories);

impl Slots<Flex> for HostSlots {
    type Written = ();
    type Used = ();

    fn read_after(&self, _written: &()) -> Result<(), UploadError> {
        Ok(())
    }

    fn codes_in(
        &self,
        memory: MemoryId,
        offset: usize,
        shape: &[usize],
    ) -> Result<IntTensor<Flex>, UploadError> {
        use burn::tensor::ops::IntTensorOps;
        let data = self.0.copied(memory, offset, shape, DType::U8)?;
        Ok(Flex::int_from_data(data, &FlexDevice))
    }

    fn floats_in(
        &self,
        memory: MemoryId,
        offset: usize,
        shape: &[usize],
        dtype: DType,
    ) -> Result<FloatTensor<Flex>, UploadError> {
        use burn::tensor::ops::FloatTensorOps;
        let data = self.0.copied(memory, offset, shape, dtype)?;
        Ok(Flex::float_from_data(data, &FlexDevice))
    }

    fn used(&self) -> Result<(), UploadError> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Int, Tensor};

    use super::*;

    #[test]
    fn bytes_become_the_tensor() {
        let mut sink = HostSink::new();
        let memory = sink.allocate(6).expect("room");
        let mut buffer = sink.host_buffer(16).expect("room");
        buffer[..8].copy_from_slice(&[9, 4, 5, 6, 1, 2, 3, 9]);
        let piece = |offset, source| Piece {
            memory,
            offset,
            source,
        };
        sink.write(buffer, &[piece(3, 1..4), piece(0, 4..7)])
            .expect("in bounds");
        sink.finish().expect("no device");
        let tensor =
            Tensor::<Flex, 2, Int>::from_primitive(sink.codes(memory, &[2, 3]).expect("six bytes"));
        assert_eq!(
            tensor.into_data().to_vec::<u8>().expect("U8"),
            [1, 2, 3, 4, 5, 6]
        );
        assert!(sink.codes(memory, &[2, 3]).is_err(), "taken already");
        let memory = sink.allocate(6).expect("room");
        assert!(sink.codes(memory, &[7]).is_err(), "of another size");
    }

    #[test]
    fn slots_show_the_bytes_of_their_last_filling() {
        use crate::upload::SLOT_ALIGNMENT;

        let mut sink = HostSink::new();
        let memory = sink.allocate(SLOT_ALIGNMENT + 4).expect("room");
        let slots = sink.slots();
        let mut shown = Vec::new();
        for filling in [1u8, 2] {
            let mut buffer = sink.host_buffer(SLOT_ALIGNMENT + 4).expect("room");
            buffer.fill(filling);
            let last = SLOT_ALIGNMENT..SLOT_ALIGNMENT + 4;
            buffer[last.clone()].copy_from_slice(&f32::from(filling).to_ne_bytes());
            let piece = |range: std::ops::Range<usize>| Piece {
                memory,
                offset: range.start,
                source: range,
            };
            sink.write(buffer, &[piece(0..3), piece(last)])
                .expect("in bounds");
            slots
                .read_after(&sink.written().expect("no device"))
                .expect("no device");
            let codes = slots.codes_in(memory, 0, &[1, 3]).expect("in bounds");
            let floats = slots.floats_in(memory, SLOT_ALIGNMENT, &[1], DType::F32);
            shown.push((codes, floats.expect("in bounds")));
            sink.write_after(&slots.used().expect("no device"))
                .expect("no device");
        }
        drop(sink);
        // What was lent are copies here: the second filling leaves the first ones alone.
        for (filling, (codes, floats)) in [1u8, 2].into_iter().zip(shown) {
            let codes = Tensor::<Flex, 2, Int>::from_primitive(codes).into_data();
            assert_eq!(codes.to_vec::<u8>().expect("U8"), [filling; 3]);
            let floats = crate::flex::tensor::typed::<1>(floats).into_data();
            assert_eq!(floats.to_vec::<f32>().expect("F32"), [f32::from(filling)]);
        }
        for (offset, bytes) in [(0, SLOT_ALIGNMENT + 5), (1, 1), (SLOT_ALIGNMENT, 5)] {
            assert!(slots.codes_in(memory, offset, &[bytes]).is_err());
        }
    }

    #[test]
    fn more_than_the_machine_has_is_refused() {
        let mut sink = HostSink {
            free: Some(100),
            ..HostSink::new()
        };
        sink.allocate(60).expect("room");
        assert_eq!(
            sink.allocate(60),
            Err(UploadError::OutOfMemory {
                needed: 60,
                free: 40
            })
        );
    }
}
