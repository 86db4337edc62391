//! A device that is watched, and can be made to fail.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use backends::upload::{
    DeviceSink, HostBuffer, MemoryId, Piece, SlotSink, TensorSink, UploadError,
};
use burn::tensor::DType;
use burn::tensor::ops::{FloatTensor, IntTensor};
use burn_flex::Flex;

/// Around a sink: fills each slot with a pattern before the first bytes of each filling, and gives
/// buffers back as late as it can.
pub(super) struct Device<K> {
    inner: K,
    sizes: Vec<usize>,
    /// Buffers that it gives back when it has to.
    held: VecDeque<HostBuffer>,
    /// The next write begins a filling.
    fills: bool,
    pub(super) state: Arc<State>,
    /// Whether its slots can be written to twice in a filling.
    is_poisoned: bool,
}

/// What a test can see of the device, and do to it.
#[derive(Default)]
pub(super) struct State {
    /// Host buffers that were taken.
    pub(super) buffers: AtomicUsize,
    /// Writes so far.
    pub(super) writes: AtomicUsize,
    /// Fails at this write.
    pub(super) fails_at: AtomicUsize,
    /// It panics instead of failing.
    pub(super) panics: AtomicBool,
}

impl<K> Device<K> {
    pub(super) fn new(inner: K) -> Self {
        let state = State {
            fails_at: usize::MAX.into(),
            ..State::default()
        };
        Self {
            inner,
            sizes: Vec::new(),
            held: VecDeque::new(),
            fills: true,
            state: Arc::new(state),
            is_poisoned: false,
        }
    }

    /// Poisons its slots.
    pub(super) fn poisoned(self) -> Self {
        Self {
            is_poisoned: true,
            ..self
        }
    }
}

impl<K: DeviceSink> DeviceSink for Device<K> {
    fn allocate(&mut self, bytes: usize) -> Result<MemoryId, UploadError> {
        self.sizes.push(bytes);
        self.inner.allocate(bytes)
    }

    fn host_buffer(&mut self, bytes: usize) -> Result<HostBuffer, UploadError> {
        self.state.buffers.fetch_add(1, Ordering::Relaxed);
        self.inner.host_buffer(bytes)
    }

    fn write(&mut self, buffer: HostBuffer, pieces: &[Piece]) -> Result<(), UploadError> {
        let number = self.state.writes.fetch_add(1, Ordering::Relaxed);
        if number >= self.state.fails_at.load(Ordering::Relaxed) {
            assert!(
                !self.state.panics.load(Ordering::Relaxed),
                "as was asked for"
            );
            return Err(UploadError::Device("gone".into()));
        }
        if self.is_poisoned
            && std::mem::take(&mut self.fills)
            && let Some(piece) = pieces.first()
        {
            let size = self.sizes[piece.memory.index()];
            let mut poison = HostBuffer::new(size)?;
            poison.fill(0xa5);
            let piece = Piece {
                memory: piece.memory,
                offset: 0,
                source: 0..size,
            };
            self.inner.write(poison, &[piece])?;
            // The last buffer is that of the poison, which is nobody's.
            while let Some(buffer) = self.inner.reclaim(false)? {
                self.held.push_back(buffer);
            }
            self.held.pop_back();
        }
        self.inner.write(buffer, pieces)
    }

    fn reclaim(&mut self, wait: bool) -> Result<Option<HostBuffer>, UploadError> {
        if !wait {
            return Ok(None);
        }
        match self.held.pop_front() {
            Some(buffer) => Ok(Some(buffer)),
            None => self.inner.reclaim(true),
        }
    }

    fn finish(&mut self) -> Result<(), UploadError> {
        self.inner.finish()
    }
}

impl<K: TensorSink<Flex>> TensorSink<Flex> for Device<K> {
    fn codes(&mut self, memory: MemoryId, shape: &[usize]) -> Result<IntTensor<Flex>, UploadError> {
        self.inner.codes(memory, shape)
    }

    fn floats(
        &mut self,
        memory: MemoryId,
        shape: &[usize],
        dtype: DType,
    ) -> Result<FloatTensor<Flex>, UploadError> {
        self.inner.floats(memory, shape, dtype)
    }
}

impl<K: SlotSink<Flex>> SlotSink<Flex> for Device<K> {
    type Written = K::Written;
    type Used = K::Used;
    type Slots = K::Slots;

    fn slots(&self) -> Self::Slots {
        self.inner.slots()
    }

    fn written(&mut self) -> Result<Self::Written, UploadError> {
        self.fills = true;
        self.inner.written()
    }

    fn write_after(&mut self, used: &Self::Used) -> Result<(), UploadError> {
        self.inner.write_after(used)
    }

    fn discard(&mut self, memory: MemoryId) {
        self.fills = true;
        self.inner.discard(memory);
    }
}
