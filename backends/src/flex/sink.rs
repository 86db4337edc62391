//! The processor's own memory as the device: tensors that are read, not mapped.

use std::collections::VecDeque;

use burn::tensor::ops::{FloatTensor, IntTensor};
use burn::tensor::{AllocationProperty, Bytes, DType, TensorData};
use burn_flex::{Flex, FlexDevice};

use crate::host_memory;
use crate::upload::{
    DeviceSink, HostBuffer, MemoryId, Piece, TensorSink, UploadError, not_of_size,
};

/// Tensors in anonymous memory of this process.
#[derive(Debug)]
pub struct HostSink {
    memories: Vec<Option<Memory>>,
    buffers: VecDeque<HostBuffer>,
    /// Bytes that may still be taken, where the system tells.
    free: Option<u64>,
}

#[derive(Debug)]
struct Memory {
    bytes: usize,
    storage: HostBuffer,
}

impl HostSink {
    /// A sink that takes at most what the system can give now without swapping.
    pub fn new() -> Self {
        Self {
            memories: Vec::new(),
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
        let bytes = shape.iter().product::<usize>() * dtype.size();
        let taken = self.memories.get_mut(memory.index()).and_then(Option::take);
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
        self.memories.push(Some(Memory { bytes, storage }));
        Ok(MemoryId::new(self.memories.len() - 1))
    }

    fn write(&mut self, buffer: HostBuffer, pieces: &[Piece]) -> Result<(), UploadError> {
        for piece in pieces {
            let memory = self.memories.get_mut(piece.memory.index());
            let memory = memory.and_then(Option::as_mut);
            let size = memory.as_ref().map(|memory| memory.bytes);
            let bytes = piece.of(&buffer, size)?;
            if let Some(memory) = memory {
                memory.storage[piece.offset..piece.offset + bytes.len()].copy_from_slice(bytes);
            }
        }
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
