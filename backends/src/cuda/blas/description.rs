//! Products as the library describes them.

use std::ffi::c_void;

use cudarc::cublaslt::{result, sys};

use super::product::{Layout, Operands, Product};
use crate::cuda::element::Element;
use crate::fp8::Fp8Format;
use crate::working_memory::cuda::WORKSPACE;

/// `CUBLAS_OP_N` and `CUBLAS_OP_T`, which are of another library's headers.
const AS_IT_IS: i32 = 0;
const TRANSPOSED: i32 = 1;

/// The library's name of a format.
fn code_dtype(format: Fp8Format) -> sys::cudaDataType_t {
    match format {
        Fp8Format::E4M3 => sys::cudaDataType_t::CUDA_R_8F_E4M3,
        Fp8Format::E5M2 => sys::cudaDataType_t::CUDA_R_8F_E5M2,
    }
}

/// The library's own description of a product.
pub(super) struct Description {
    pub(super) operation: sys::cublasLtMatmulDesc_t,
    pub(super) w: sys::cublasLtMatrixLayout_t,
    pub(super) x: sys::cublasLtMatrixLayout_t,
    pub(super) y: sys::cublasLtMatrixLayout_t,
}

impl Description {
    pub(super) fn new(product: Product, operands: &Operands) -> Result<Self, result::CublasError> {
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

    /// Tells the library that the factors have a scale for each row. Our bindings may be older than
    /// these attributes; the loaded library may know them all the same.
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

    pub(super) fn choose(
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
        // SAFETY: the preference was created above, and nothing uses it any more.
        let _ = unsafe { result::destroy_matmul_pref(preference) };
        Ok(chosen?.algo)
    }
}

impl Drop for Description {
    fn drop(&mut self) {
        // SAFETY: the description owns them; the library reads them only while a product is started.
        unsafe {
            let _ = result::destroy_matrix_layout(self.w);
            let _ = result::destroy_matrix_layout(self.x);
            let _ = result::destroy_matrix_layout(self.y);
            let _ = result::destroy_matmul_desc(self.operation);
        }
    }
}
