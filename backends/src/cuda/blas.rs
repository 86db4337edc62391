//! Matrix products by cuBLASLt, loaded at run time.

use std::collections::HashMap;
use std::ffi::c_void;
use std::sync::{Arc, Mutex, PoisonError};

use cudarc::cublaslt::{result, sys};
use cudarc::driver::{CudaContext, DriverError};

use super::engine::Scope;
use super::tensor::Element;

/// Scratch memory that algorithms may use: what the library's authors recommend for Hopper.
const WORKSPACE: usize = 32 << 20;

/// `CUBLAS_OP_N` and `CUBLAS_OP_T`, which are of another library's headers.
const AS_IT_IS: i32 = 0;
const TRANSPOSED: i32 = 1;

/// A handle of the library, and what it has chosen so far.
pub(super) struct Blas {
    handle: sys::cublasLtHandle_t,
    workspace: u64,
    /// Device memory with the numbers 1 and 0.
    constants: u64,
    algorithms: Mutex<HashMap<Product, sys::cublasLtMatmulAlgo_t>>,
}

// SAFETY: the library's handle may be used from any thread.
unsafe impl Send for Blas {}
// SAFETY: as above; the map is behind a lock.
unsafe impl Sync for Blas {}

/// `y[m, n] = alpha * x[m, k] · w[n, k]ᵀ + bias[n]`, all row-major, then GELU's tanh form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Product {
    /// Rows of `x` and of `y`.
    pub(super) m: usize,
    /// Rows of `w`.
    pub(super) n: usize,
    /// Columns of `x` and of `w`.
    pub(super) k: usize,
    /// How `w` lies in memory.
    pub(super) weight: Layout,
    /// Elements from one row of `y` to the next; `n` where nothing lies between.
    pub(super) y_leading: usize,
    /// Of `x`, `w`, `y` and `bias`. Sums are f32.
    pub(super) element: Element,
    /// Whether there is a bias.
    pub(super) bias: bool,
    /// Whether GELU follows.
    pub(super) gelu: bool,
}

/// How the second matrix lies in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Layout {
    /// `[n, k]`, as weights.
    Rows,
    /// `[k, n]`.
    Columns,
}

/// The addresses of a product's operands.
#[derive(Clone, Copy, Debug)]
pub(super) struct Operands {
    pub(super) x: u64,
    pub(super) w: u64,
    pub(super) y: u64,
    /// 0 without one.
    pub(super) bias: u64,
    /// Where the f32 `alpha` is; 1 without one.
    pub(super) alpha: Option<u64>,
}

impl Blas {
    /// `None` where the library is missing or refuses.
    pub(super) fn new(context: &Arc<CudaContext>) -> Option<Self> {
        // SAFETY: looks for a shared library by name; NVIDIA's libraries run no hostile code.
        if !unsafe { sys::is_culib_present() } {
            return None;
        }
        context.bind_to_thread().ok()?;
        let handle = result::create_handle().ok()?;
        // SAFETY: plain device memory, kept for as long as the process runs.
        let memory = |bytes| unsafe { cudarc::driver::result::malloc_sync(bytes) }.ok();
        let constants = memory(8)?;
        // SAFETY: the memory was just taken and holds two floats.
        unsafe { cudarc::driver::result::memcpy_htod_sync(constants, &[1f32, 0f32]) }.ok()?;
        Some(Self {
            handle,
            workspace: memory(WORKSPACE)?,
            constants,
            algorithms: Mutex::default(),
        })
    }

    /// Starts a product.
    ///
    /// # Errors
    /// The driver's, if the stream cannot be had.
    ///
    /// # Panics
    /// If the library refuses the product, which then has a shape or a dtype that it does not
    /// know.
    pub(super) fn multiply(
        &self,
        scope: &Scope<'_>,
        product: Product,
        operands: Operands,
    ) -> Result<(), DriverError> {
        let stream = scope.stream()?.cu_stream();
        let description = Description::new(product, operands.bias);
        let description = description.unwrap_or_else(|error| refused(product, error));
        let algorithm = self.algorithm(product, &description);
        let alpha = operands.alpha.unwrap_or(self.constants);
        let zero = self.constants + size_of::<f32>() as u64;
        let pointer = |address: u64| address as usize as *const c_void;
        // The library's matrices are column-major: `yᵀ = w · xᵀ`.
        // SAFETY: the caller's tensors keep the operands, which have the described sizes.
        let done = unsafe {
            result::matmul(
                self.handle,
                description.operation,
                pointer(alpha),
                pointer(zero),
                pointer(operands.w),
                description.w,
                pointer(operands.x),
                description.x,
                pointer(operands.y),
                description.y,
                pointer(operands.y).cast_mut(),
                description.y,
                &algorithm,
                pointer(self.workspace).cast_mut(),
                WORKSPACE,
                stream.cast(),
            )
        };
        done.unwrap_or_else(|error| refused(product, error));
        Ok(())
    }

    /// The library's choice for a product, asked for once.
    fn algorithm(&self, product: Product, description: &Description) -> sys::cublasLtMatmulAlgo_t {
        let mut known = self
            .algorithms
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        *known.entry(product).or_insert_with(|| {
            let chosen = description.choose(self.handle);
            chosen.unwrap_or_else(|error| refused(product, error))
        })
    }
}

/// The library has no way to do a product that the shapes demand, and an operation of a backend
/// has no way to return an error.
fn refused<T>(product: Product, error: result::CublasError) -> T {
    panic!("CUDA: cuBLASLt refuses {product:?}: {error}")
}

/// The library's own description of a product.
struct Description {
    operation: sys::cublasLtMatmulDesc_t,
    w: sys::cublasLtMatrixLayout_t,
    x: sys::cublasLtMatrixLayout_t,
    y: sys::cublasLtMatrixLayout_t,
}

impl Description {
    fn new(product: Product, bias: u64) -> Result<Self, result::CublasError> {
        let dtype = match product.element {
            Element::Bf16 => sys::cudaDataType_t::CUDA_R_16BF,
            Element::F32 => sys::cudaDataType_t::CUDA_R_32F,
        };
        let (m, n, k) = (product.m as u64, product.n as u64, product.k as u64);
        // Column-major, `w [n, k]` in rows is `[k, n]`, which is transposed.
        let (w, transposed) = match product.weight {
            Layout::Rows => ((k, n, k), TRANSPOSED),
            Layout::Columns => ((n, k, n), AS_IT_IS),
        };
        let layout = |(rows, columns, leading): (u64, u64, u64)| {
            result::create_matrix_layout(dtype, rows, columns, leading as i64)
        };
        let operation = result::create_matmul_desc(
            sys::cublasComputeType_t::CUBLAS_COMPUTE_32F,
            sys::cudaDataType_t::CUDA_R_32F,
        )?;
        let description = Self {
            operation,
            w: layout(w)?,
            x: layout((k, m, k))?,
            y: layout((n, m, product.y_leading as u64))?,
        };
        use sys::cublasLtMatmulDescAttributes_t as Attribute;
        description.set(Attribute::CUBLASLT_MATMUL_DESC_TRANSA, &transposed)?;
        description.set(
            Attribute::CUBLASLT_MATMUL_DESC_POINTER_MODE,
            &sys::cublasLtPointerMode_t::CUBLASLT_POINTER_MODE_DEVICE,
        )?;
        use sys::cublasLtEpilogue_t as Epilogue;
        let epilogue = match (product.bias, product.gelu) {
            (false, false) => Epilogue::CUBLASLT_EPILOGUE_DEFAULT,
            (true, false) => Epilogue::CUBLASLT_EPILOGUE_BIAS,
            (false, true) => Epilogue::CUBLASLT_EPILOGUE_GELU,
            (true, true) => Epilogue::CUBLASLT_EPILOGUE_GELU_BIAS,
        };
        description.set(Attribute::CUBLASLT_MATMUL_DESC_EPILOGUE, &epilogue)?;
        if product.bias {
            description.set(Attribute::CUBLASLT_MATMUL_DESC_BIAS_POINTER, &bias)?;
        }
        Ok(description)
    }

    fn set<T>(
        &self,
        attribute: sys::cublasLtMatmulDescAttributes_t,
        value: &T,
    ) -> Result<(), result::CublasError> {
        let pointer = std::ptr::from_ref(value).cast();
        // SAFETY: the attribute has the type of the value, which is read at once.
        unsafe {
            result::set_matmul_desc_attribute(self.operation, attribute, pointer, size_of::<T>())
        }
    }

    fn choose(
        &self,
        handle: sys::cublasLtHandle_t,
    ) -> Result<sys::cublasLtMatmulAlgo_t, result::CublasError> {
        let preference = result::create_matmul_pref()?;
        let attribute =
            sys::cublasLtMatmulPreferenceAttributes_t::CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES;
        let workspace = std::ptr::from_ref(&WORKSPACE).cast();
        // SAFETY: all objects are alive, and the attribute is a size.
        let chosen = unsafe {
            result::set_matmul_pref_attribute(preference, attribute, workspace, size_of::<usize>())
                .and_then(|()| {
                    result::get_matmul_algo_heuristic(
                        handle,
                        self.operation,
                        self.w,
                        self.x,
                        self.y,
                        self.y,
                        preference,
                    )
                })
        };
        // SAFETY: nothing uses it any more.
        let _ = unsafe { result::destroy_matmul_pref(preference) };
        Ok(chosen?.algo)
    }
}

impl Drop for Description {
    fn drop(&mut self) {
        // SAFETY: the library has read them when a product was started.
        unsafe {
            let _ = result::destroy_matrix_layout(self.w);
            let _ = result::destroy_matrix_layout(self.x);
            let _ = result::destroy_matrix_layout(self.y);
            let _ = result::destroy_matmul_desc(self.operation);
        }
    }
}
