//! CubeCL's memory on its way to be tensors, for the sinks of all its devices.

use burn::tensor::DType;
use burn_cubecl::CubeRuntime;
use burn_cubecl::cubecl::prelude::ComputeClient;
use burn_cubecl::cubecl::server::Handle;
use burn_cubecl::tensor::CubeTensor;

use crate::upload::{MemoryId, UploadError, end_of, not_of_size};

/// Bytes of a word.
const WORD: u64 = 4;

/// A multiple of every device's alignment. CubeCL gives a handle the aligned size and its memory
/// the size that was asked for, and counts the end of a part from either: they have to be the same.
const ALIGNMENT: usize = 512;

/// The memory that a sink has taken of one device.
#[derive(Clone)]
pub(crate) struct CubeMemory<R: CubeRuntime> {
    pub(crate) client: ComputeClient<R>,
    pub(crate) device: R::Device,
    /// Handle and size in bytes; none once it is a tensor.
    memories: Vec<Option<(Handle, usize)>>,
}

impl<R: CubeRuntime> CubeMemory<R> {
    /// Nothing taken yet.
    pub(crate) fn new(device: &R::Device) -> Self {
        Self {
            client: R::client(device),
            device: device.clone(),
            memories: Vec::new(),
        }
    }

    /// Takes memory of this size, rounded up to the alignment, which stays apart from what comes
    /// and goes.
    ///
    /// # Errors
    /// [`UploadError::Device`].
    pub(crate) fn allocate(&mut self, bytes: usize) -> Result<MemoryId, UploadError> {
        // A device has no memory of no size.
        let size = bytes.max(1).next_multiple_of(ALIGNMENT);
        let client = self.client.clone();
        let handle = self
            .client
            .memory_persistent_allocation((), move |()| client.empty(size))
            .map_err(failed)?;
        self.memories.push(Some((handle, bytes)));
        Ok(MemoryId::new(self.memories.len() - 1))
    }

    /// Memory that is no tensor yet, and its size.
    pub(crate) fn get(&self, memory: MemoryId) -> Option<(&Handle, usize)> {
        let (handle, bytes) = self.memories.get(memory.index())?.as_ref()?;
        Some((handle, *bytes))
    }

    /// The memory as a tensor.
    ///
    /// # Errors
    /// [`UploadError::OutOfBounds`] if it is one already or is of another size.
    pub(crate) fn take(
        &mut self,
        memory: MemoryId,
        shape: &[usize],
        dtype: DType,
    ) -> Result<CubeTensor<R>, UploadError> {
        let bytes = shape.iter().product::<usize>() * dtype.size();
        let taken = self.memories.get_mut(memory.index()).and_then(Option::take);
        let taken = taken.filter(|(_, size)| *size == bytes);
        let (handle, _) = taken.ok_or_else(|| not_of_size(memory, bytes))?;
        Ok(CubeTensor::new_contiguous(
            self.client.clone(),
            self.device.clone(),
            shape.to_vec().into(),
            handle,
            dtype,
        ))
    }

    /// A tensor over a part of memory that is no tensor. Burn never computes in place there, since
    /// the memory has another owner.
    ///
    /// # Errors
    /// [`UploadError::OutOfBounds`].
    pub(crate) fn lend(
        &self,
        memory: MemoryId,
        offset: usize,
        shape: &[usize],
        dtype: DType,
    ) -> Result<CubeTensor<R>, UploadError> {
        let bytes = shape.iter().product::<usize>() * dtype.size();
        let found = self.get(memory);
        let end = end_of(memory, offset, bytes, found.map(|(_, size)| size))?;
        let (handle, _) = found.ok_or_else(|| not_of_size(memory, bytes))?;
        // Up to whole words, of which the memory has been taken.
        let behind = handle.size() - (end as u64).next_multiple_of(WORD);
        let part = handle.clone().offset_start(offset as u64);
        Ok(CubeTensor::new_contiguous(
            self.client.clone(),
            self.device.clone(),
            shape.to_vec().into(),
            part.offset_end(behind),
            dtype,
        ))
    }
}

/// A failure of CubeCL's.
pub(crate) fn failed(error: impl std::fmt::Debug) -> UploadError {
    UploadError::Device(format!("{error:?}"))
}
