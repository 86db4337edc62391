//! Matrix products by cuBLASLt, loaded at run time.

use std::collections::HashMap;
use std::ffi::c_void;
use std::sync::{Arc, Mutex, PoisonError};

use cudarc::cublaslt::{result, sys};
use cudarc::driver::{CudaContext, DriverError};

use super::engine::Scope;
use super::tensor::Element;
use crate::fp8::Fp8Format;
use crate::working_memory::cuda::WORKSPACE;

/// The most rows of `w` whose scales may all be 1.
const ONES: usize = 1 << 15;

/// `CUBLAS_OP_N` and `CUBLAS_OP_T`, which are of another library's headers.
const AS_IT_IS: i32 = 0;
const TRANSPOSED: i32 = 1;

/// A handle of the library, and what it has chosen so far.
pub(super) struct Blas {
    handle: sys::cublasLtHandle_t,
    /// One for each stream.
    workspaces: [u64; 2],
    /// Device memory with [`ONES`] ones and then the number 0.
    constants: u64,
    /// The library's choices; none where it has no way to do a product.
    algorithms: Mutex<HashMap<Product, Option<sys::cublasLtMatmulAlgo_t>>>,
}

// SAFETY: the library's handle may be used from any thread.
unsafe impl Send for Blas {}
// SAFETY: as above; the map is behind a lock.
unsafe impl Sync for Blas {}

/// `y[m, n] = alpha * x[m, k] · w[n, k]ᵀ + addend[m, n] + bias[n]`, all row-major, then GELU's tanh
/// form. FP8 factors are multiplied by [`Scales`] on the way.
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
    /// Of `y` and `bias`, and where `codes` says nothing else of `x` and `w`. Sums are f32; those of
    /// FP8 factors have the tensor cores' own precision.
    pub(super) element: Element,
    /// `x` is E4M3, and `w` of this format.
    pub(super) codes: Option<Codes>,
    /// Whether there is an addend, which lies as `y` does.
    pub(super) addend: bool,
    /// Whether there is a bias.
    pub(super) bias: bool,
    /// Whether GELU follows.
    pub(super) gelu: bool,
}

impl Product {
    /// The same without addend and GELU.
    pub(super) fn bare(self) -> Self {
        Self {
            addend: false,
            gelu: false,
            ..self
        }
    }
}

/// What FP8 factors are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Codes {
    /// Of `w`.
    pub(super) format: Fp8Format,
    /// Whether rows of `x` and of `w` have a scale each, or `w` has one and `x` none.
    pub(super) scaled_by_row: bool,
}

/// Where the scales of FP8 factors are, f32.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scales {
    /// `[m]`, if rows are scaled.
    pub(super) x: u64,
    /// `[n]` if rows are scaled, else one.
    pub(super) w: u64,
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
    pub(super) addend: u64,
    /// 0 without one.
    pub(super) bias: u64,
    /// Where the f32 `alpha` is; 1 without one.
    pub(super) alpha: Option<u64>,
    /// Of FP8 factors.
    pub(super) scales: Option<Scales>,
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
        match self.try_multiply(scope, product, operands)? {
            Ok(()) => Ok(()),
            // The shapes demand it, and an operation of a backend has no way to return an error.
            Err(reason) => panic!("CUDA: cuBLASLt refuses {product:?}: {reason}"),
        }
    }

    /// Starts a product, unless the library refuses it: then nothing is started, and this says why.
    ///
    /// # Errors
    /// The driver's, if the stream cannot be had.
    pub(super) fn try_multiply(
        &self,
        scope: &Scope<'_>,
        product: Product,
        operands: Operands,
    ) -> Result<Result<(), String>, DriverError> {
        let stream = scope.stream()?.cu_stream();
        let description = match Description::new(product, &operands) {
            Ok(description) => description,
            Err(error) => return Ok(Err(error.to_string())),
        };
        let Some(algorithm) = self.algorithm(product, &description) else {
            return Ok(Err("no algorithm".to_owned()));
        };
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
                pointer(self.workspaces[scope.lane()]).cast_mut(),
                WORKSPACE,
                stream.cast(),
            )
        };
        Ok(done.map_err(|error| error.to_string()))
    }

    /// Device memory with as many ones, f32, as `w` has rows in a product that the library
    /// [knows](Self::knows).
    pub(super) fn ones(&self) -> u64 {
        self.constants
    }

    /// Whether the library can do a product. Scales of rows are of its 12.9, on Hopper and later;
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

/// What the library calls a format.
fn code_dtype(format: Fp8Format) -> sys::cudaDataType_t {
    match format {
        Fp8Format::E4M3 => sys::cudaDataType_t::CUDA_R_8F_E4M3,
        Fp8Format::E5M2 => sys::cudaDataType_t::CUDA_R_8F_E5M2,
    }
}

/// The library's own description of a product.
struct Description {
    operation: sys::cublasLtMatmulDesc_t,
    w: sys::cublasLtMatrixLayout_t,
    x: sys::cublasLtMatrixLayout_t,
    y: sys::cublasLtMatrixLayout_t,
}

impl Description {
    fn new(product: Product, operands: &Operands) -> Result<Self, result::CublasError> {
        let dtype = match product.element {
            Element::Bf16 => sys::cudaDataType_t::CUDA_R_16BF,
            Element::F32 => sys::cudaDataType_t::CUDA_R_32F,
        };
        let (x_dtype, w_dtype) = match product.codes {
            None => (dtype, dtype),
            Some(codes) => (code_dtype(Fp8Format::E4M3), code_dtype(codes.format)),
        };
        let (m, n, k) = (product.m as u64, product.n as u64, product.k as u64);
        // Column-major, `w [n, k]` in rows is `[k, n]`, which is transposed.
        let (w, transposed) = match product.weight {
            Layout::Rows => ((k, n, k), TRANSPOSED),
            Layout::Columns => ((n, k, n), AS_IT_IS),
        };
        let layout = |dtype, (rows, columns, leading): (u64, u64, u64)| {
            result::create_matrix_layout(dtype, rows, columns, leading as i64)
        };
        let operation = result::create_matmul_desc(
            sys::cublasComputeType_t::CUBLAS_COMPUTE_32F,
            sys::cudaDataType_t::CUDA_R_32F,
        )?;
        let description = Self {
            operation,
            w: layout(w_dtype, w)?,
            x: layout(x_dtype, (k, m, k))?,
            y: layout(dtype, (n, m, product.y_leading as u64))?,
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
            description.set(Attribute::CUBLASLT_MATMUL_DESC_BIAS_POINTER, &operands.bias)?;
        }
        if let (Some(codes), Some(scales)) = (product.codes, operands.scales) {
            // An H200's products of 3072 columns of random numbers differ by this by less than a
            // thousandth of their norm, and take four fifths of the time.
            description.set(Attribute::CUBLASLT_MATMUL_DESC_FAST_ACCUM, &1i8)?;
            description.set(Attribute::CUBLASLT_MATMUL_DESC_A_SCALE_POINTER, &scales.w)?;
            if codes.scaled_by_row {
                description.set(Attribute::CUBLASLT_MATMUL_DESC_B_SCALE_POINTER, &scales.x)?;
                description.scale_rows()?;
            }
        }
        Ok(description)
    }

    /// Has the factors' scales taken as those of rows. The bindings may be of a library that does
    /// not know of them, which the one that is loaded then still may.
    fn scale_rows(&self) -> Result<(), result::CublasError> {
        /// `cublasLtMatmulDescSetAttribute`, with the attribute as the number that it is.
        type SetAttribute = unsafe extern "C" fn(
            sys::cublasLtMatmulDesc_t,
            u32,
            *const c_void,
            usize,
        ) -> sys::cublasStatus_t;
        /// `CUBLASLT_MATMUL_DESC_A_SCALE_MODE` and `.._B_..`, of CUDA 12.8.
        const SCALE_MODES: [u32; 2] = [31, 32];
        /// `CUBLASLT_MATMUL_MATRIX_SCALE_OUTER_VEC_32F`, of CUDA 12.9.
        const OUTER_VECTOR: i32 = 3;
        let missing = result::CublasError(sys::cublasStatus_t::CUBLAS_STATUS_NOT_SUPPORTED);
        // SAFETY: the library is loaded, and its function of this name has this signature, where
        // an enumeration is an unsigned number (cuBLAS manual).
        let set = unsafe { sys::culib().get::<SetAttribute>(b"cublasLtMatmulDescSetAttribute") };
        let set = set.map_err(|_| missing)?;
        for mode in SCALE_MODES {
            let value = std::ptr::from_ref(&OUTER_VECTOR).cast();
            // SAFETY: the description is alive, and the value is read at once.
            unsafe { set(self.operation, mode, value, size_of::<i32>()) }.result()?;
        }
        Ok(())
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
