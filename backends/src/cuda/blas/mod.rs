//! Matrix products by cuBLASLt, loaded at run time.

mod description;
mod product;

use std::collections::HashMap;
use std::ffi::c_void;
use std::sync::{Arc, Mutex, PoisonError};

use cudarc::cublaslt::{result, sys};
use cudarc::driver::CudaContext;

use self::description::Description;
use super::lanes::Lane;
use crate::working_memory::cuda::WORKSPACE;

pub(super) use self::product::{Codes, Layout, Operands, Product, Scales};

/// The most rows of `w` whose scales may all be 1.
const ONES: usize = 1 << 15;

/// A handle of the library, and what it has chosen so far.
pub(super) struct Blas {
    handle: sys::cublasLtHandle_t,
    /// A workspace for each stream.
    workspaces: [u64; 2],
    /// Device memory with [`ONES`] ones and then the number 0.
    constants: u64,
    /// The library's choices; none where it has no way to do a product.
    algorithms: Mutex<HashMap<Product, Option<sys::cublasLtMatmulAlgo_t>>>,
}

// SAFETY: the library's handle may be used from any thread.
unsafe impl Send for Blas {}
// SAFETY: the same holds for shared use, and the map is behind a lock.
unsafe impl Sync for Blas {}

impl Blas {
    /// Loads the library; `None` where it is missing or refuses.
    pub(super) fn new(context: &Arc<CudaContext>) -> Option<Self> {
        // SAFETY: looks for a shared library by name; NVIDIA's libraries run no hostile code.
        if !unsafe { sys::is_culib_present() } {
            return None;
        }
        context.bind_to_thread().ok()?;
        let handle = result::create_handle().ok()?;
        // SAFETY: plain device memory, kept for as long as the process runs.
        let memory = |bytes| unsafe { cudarc::driver::result::malloc_sync(bytes) }.ok();
        let mut numbers = vec![1f32; ONES];
        numbers.push(0.0);
        let constants = memory(size_of_val(&numbers[..]))?;
        // SAFETY: the memory was just taken and holds so many floats.
        unsafe { cudarc::driver::result::memcpy_htod_sync(constants, &numbers) }.ok()?;
        Some(Self {
            handle,
            workspaces: [memory(WORKSPACE)?, memory(WORKSPACE)?],
            constants,
            algorithms: Mutex::default(),
        })
    }

    /// Starts a product.
    ///
    /// # Panics
    /// If the library refuses the product, which then has a shape or a dtype that it does not
    /// know.
    pub(super) fn multiply(&self, lane: Lane<'_>, product: Product, operands: Operands) {
        if let Err(reason) = self.try_multiply(lane, product, operands) {
            // The shapes demand it, and an operation of a backend has no way to return an error.
            panic!("CUDA: cuBLASLt refuses {product:?}: {reason}");
        }
    }

    /// Starts a product.
    ///
    /// # Errors
    /// The reason why the library refuses it; then nothing is started.
    pub(super) fn try_multiply(
        &self,
        lane: Lane<'_>,
        product: Product,
        operands: Operands,
    ) -> Result<(), String> {
        let description =
            Description::new(product, &operands).map_err(|error| error.to_string())?;
        let algorithm = self
            .algorithm(product, &description)
            .ok_or("no algorithm")?;
        let alpha = operands.alpha.unwrap_or(self.constants);
        let zero = self.constants + (ONES * size_of::<f32>()) as u64;
        let (beta, addend) = match product.addend {
            true => (self.constants, operands.addend),
            false => (zero, operands.y),
        };
        let pointer = |address: u64| address as usize as *const c_void;
        // The library's matrices are column-major: `yᵀ = w · xᵀ`.
        // SAFETY: the caller's tensors keep the operands, which have the described sizes.
        let done = unsafe {
            result::matmul(
                self.handle,
                description.operation,
                pointer(alpha),
                pointer(beta),
                pointer(operands.w),
                description.w,
                pointer(operands.x),
                description.x,
                pointer(addend),
                description.y,
                pointer(operands.y).cast_mut(),
                description.y,
                &algorithm,
                pointer(self.workspaces[lane.index]).cast_mut(),
                WORKSPACE,
                lane.stream.cu_stream().cast(),
            )
        };
        done.map_err(|error| error.to_string())
    }

    /// The address of as many ones, f32, as `w` has rows in a product that the library
    /// [knows](Self::knows).
    pub(super) fn ones(&self) -> u64 {
        self.constants
    }

    /// Tells whether the library can do a product. It scales rows since 12.9, on Hopper and later;
    /// FP8 factors need sizes that are multiples of 16.
    pub(super) fn knows(&self, product: Product) -> bool {
        if product.n > ONES && product.codes.is_some_and(|codes| codes.scaled_by_row) {
            return false;
        }
        let known = self
            .algorithms
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&product)
            .map(Option::is_some);
        if let Some(known) = known {
            return known;
        }
        let somewhere = self.constants;
        let operands = Operands {
            x: somewhere,
            w: somewhere,
            y: somewhere,
            addend: somewhere,
            bias: somewhere,
            alpha: None,
            scales: product.codes.map(|_| Scales {
                x: somewhere,
                w: somewhere,
            }),
        };
        Description::new(product, &operands)
            .is_ok_and(|description| self.algorithm(product, &description).is_some())
    }

    /// The library's choice for a product, asked for once.
    fn algorithm(
        &self,
        product: Product,
        description: &Description,
    ) -> Option<sys::cublasLtMatmulAlgo_t> {
        let mut known = self
            .algorithms
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        *known
            .entry(product)
            .or_insert_with(|| description.choose(self.handle).ok())
    }
}
