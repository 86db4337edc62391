//! Device memory of the engine's own, of one of its streams.

use cudarc::driver::{CudaStream, DriverError, result, sys};

/// The use of scratch memory. Uses that meet in one call have memory of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub(super) enum Use {
    /// A weight in the dtype of the computation.
    Weight,
    /// A bias in that dtype.
    Bias,
    /// The columns of a convolution.
    Columns,
}

/// Memory that is taken once and grows.
#[derive(Default)]
pub(super) struct Scratch {
    blocks: [(sys::CUdeviceptr, usize); 3],
}

impl Scratch {
    /// The memory for a use, of at least `bytes`; it is the stream's.
    ///
    /// # Errors
    /// The driver's, if there is none left.
    pub(super) fn of(
        &mut self,
        using: Use,
        bytes: usize,
        stream: &CudaStream,
    ) -> Result<sys::CUdeviceptr, DriverError> {
        let (pointer, size) = &mut self.blocks[using as usize];
        if *size < bytes {
            if *pointer != 0 {
                // SAFETY: the block is of this pool; work with it that is still queued on the
                // stream comes before its release there.
                unsafe { result::free_async(*pointer, stream.cu_stream()) }?;
                (*pointer, *size) = (0, 0);
            }
            // SAFETY: plain device memory, released above or at the process's end.
            *pointer = unsafe { result::malloc_async(stream.cu_stream(), bytes) }?;
            *size = bytes;
        }
        Ok(*pointer)
    }
}
