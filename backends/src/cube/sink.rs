//! Any CubeCL device: pieces go up as small buffers, which a kernel copies to their places.
//!
//! CubeCL can write to the beginning of fresh memory only, so a tensor that is larger than the
//! host's ring needs that copy. It costs one pass over device memory, which is far faster than
//! the way there. The kernel copies words of 32 bits: WebGPU's shading language has no bytes.

use burn::tensor::DType;
use burn::tensor::ops::{FloatTensor, IntTensor};
use burn_cubecl::cubecl;
use burn_cubecl::cubecl::future::block_on;
use burn_cubecl::cubecl::prelude::*;
use burn_cubecl::element::BoolElement;
use burn_cubecl::tensor::CubeTensor;
use burn_cubecl::{CubeBackend, CubeRuntime, FloatElement, IntElement};

use super::memory::{self, CubeMemory};
use crate::upload::{
    DeviceSink, HostBuffer, MemoryId, Piece, SlotSink, Slots, TensorSink, UploadError,
};

/// Buffers whose copies may wait in the device's queue, and so lie in host memory once more.
const QUEUED: usize = 4;

/// Bytes of a word.
const WORD: usize = 4;
/// Threads of a copy's group.
const GROUP: u32 = 256;
/// Groups along the first axis, within every device's limit.
const GROUPS_ACROSS: u32 = 32_768;

/// A sink through CubeCL's own copies, for devices without a way of their own.
pub struct CubeSink<R: CubeRuntime> {
    memory: CubeMemory<R>,
    /// Buffers that CubeCL has copied already.
    buffers: Vec<HostBuffer>,
    queued: usize,
}

impl<R: CubeRuntime> CubeSink<R> {
    /// A sink for a device.
    pub fn new(device: &R::Device) -> Self {
        Self {
            memory: CubeMemory::new(device),
            buffers: Vec::new(),
            queued: 0,
        }
    }

    fn wait(&mut self) -> Result<(), UploadError> {
        self.queued = 0;
        block_on(self.memory.client.sync()).map_err(memory::failed)
    }
}

/// Copies `bytes` bytes of `source` to where they begin in `target`: `skip` bytes into its word
/// `first`. A thread makes one word of the target, out of two of the source where the bytes of
/// the two do not lie alike. Bytes before and after the piece stay as they are.
#[cube(launch_unchecked)]
fn copy_words(source: &Array<u32>, target: &mut Array<u32>, first: usize, skip: u32, bytes: u32) {
    let word = ABSOLUTE_POS;
    let ends = skip + bytes;
    let begins = u32::cast_from(word) * 4;
    if begins < ends {
        let shift = skip * 8;
        let mut value = 0u32;
        if begins < bytes {
            value = source[word] << shift;
        }
        if skip > 0 && word > 0 {
            value |= source[word - 1] >> (32 - shift);
        }
        let mut kept = 0u32;
        if word == 0 {
            kept = (1u32 << shift) - 1;
        }
        if ends - begins < 4 {
            kept |= 0xffff_ffffu32 << ((ends - begins) * 8);
        }
        if kept != 0 {
            value = (value & !kept) | (target[first + word] & kept);
        }
        target[first + word] = value;
    }
}

impl<R: CubeRuntime> DeviceSink for CubeSink<R> {
    fn allocate(&mut self, bytes: usize) -> Result<MemoryId, UploadError> {
        self.memory.allocate(bytes)
    }

    fn write(&mut self, buffer: HostBuffer, pieces: &[Piece]) -> Result<(), UploadError> {
        for piece in pieces {
            let memory = self.memory.get(piece.memory);
            let bytes = piece.of(&buffer, memory.map(|(_, size)| size))?;
            let Some((target, size)) = memory.filter(|_| !bytes.is_empty()) else {
                continue;
            };
            let skip = piece.offset % WORD;
            let words = (skip + bytes.len()).div_ceil(WORD);
            let source = self.memory.client.create_from_slice(bytes);
            let groups = (words as u32).div_ceil(GROUP);
            let count =
                CubeCount::Static(groups.min(GROUPS_ACROSS), groups.div_ceil(GROUPS_ACROSS), 1);
            // SAFETY: the kernel keeps to the words of the piece. A device's memory comes in whole
            // words, so that the source's last one is there.
            unsafe {
                copy_words::launch_unchecked::<R>(
                    &self.memory.client,
                    count,
                    CubeDim::new_1d(GROUP),
                    ArrayArg::from_raw_parts(source, bytes.len().div_ceil(WORD)),
                    ArrayArg::from_raw_parts(target.clone(), size.div_ceil(WORD)),
                    piece.offset / WORD,
                    skip as u32,
                    bytes.len() as u32,
                );
            }
        }
        self.buffers.push(buffer);
        self.queued += 1;
        if self.queued >= QUEUED {
            self.wait()?;
        }
        Ok(())
    }

    fn reclaim(&mut self, _wait: bool) -> Result<Option<HostBuffer>, UploadError> {
        Ok(self.buffers.pop())
    }

    fn finish(&mut self) -> Result<(), UploadError> {
        self.wait()
    }
}

impl<R, F, I, BT> TensorSink<CubeBackend<R, F, I, BT>> for CubeSink<R>
where
    R: CubeRuntime,
    F: FloatElement,
    I: IntElement,
    BT: BoolElement,
    CubeBackend<R, F, I, BT>: burn::tensor::backend::Backend<
            IntTensorPrimitive = CubeTensor<R>,
            FloatTensorPrimitive = CubeTensor<R>,
        >,
{
    fn codes(
        &mut self,
        memory: MemoryId,
        shape: &[usize],
    ) -> Result<IntTensor<CubeBackend<R, F, I, BT>>, UploadError> {
        self.memory.take(memory, shape, DType::U8)
    }

    fn floats(
        &mut self,
        memory: MemoryId,
        shape: &[usize],
        dtype: DType,
    ) -> Result<FloatTensor<CubeBackend<R, F, I, BT>>, UploadError> {
        self.memory.take(memory, shape, dtype)
    }
}

/// Copies and work go through one queue in the order in which a thread gives them, so that a mark
/// has nothing to say.
impl<R, F, I, BT> SlotSink<CubeBackend<R, F, I, BT>> for CubeSink<R>
where
    R: CubeRuntime,
    F: FloatElement,
    I: IntElement,
    BT: BoolElement,
    CubeBackend<R, F, I, BT>: burn::tensor::backend::Backend<
            IntTensorPrimitive = CubeTensor<R>,
            FloatTensorPrimitive = CubeTensor<R>,
        >,
{
    type Written = ();
    type Used = ();
    type Slots = CubeSlots<R>;

    fn slots(&self) -> CubeSlots<R> {
        CubeSlots(self.memory.clone())
    }

    fn written(&mut self) -> Result<(), UploadError> {
        Ok(())
    }

    fn write_after(&mut self, _used: &()) -> Result<(), UploadError> {
        Ok(())
    }
}

/// Lends tensors over a sink's memory, on the thread that gives the sink its bytes.
pub struct CubeSlots<R: CubeRuntime>(CubeMemory<R>);

impl<R, F, I, BT> Slots<CubeBackend<R, F, I, BT>> for CubeSlots<R>
where
    R: CubeRuntime,
    F: FloatElement,
    I: IntElement,
    BT: BoolElement,
    CubeBackend<R, F, I, BT>: burn::tensor::backend::Backend<
            IntTensorPrimitive = CubeTensor<R>,
            FloatTensorPrimitive = CubeTensor<R>,
        >,
{
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
    ) -> Result<CubeTensor<R>, UploadError> {
        self.0.lend(memory, offset, shape, DType::U8)
    }

    fn floats_in(
        &self,
        memory: MemoryId,
        offset: usize,
        shape: &[usize],
        dtype: DType,
    ) -> Result<CubeTensor<R>, UploadError> {
        self.0.lend(memory, offset, shape, dtype)
    }

    fn used(&self) -> Result<(), UploadError> {
        Ok(())
    }
}
