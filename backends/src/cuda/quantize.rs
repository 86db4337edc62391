//! Rows quantized to E4M3, each by a scale of its own.

use std::sync::Arc;

use burn::tensor::{DType, FloatDType};
use burn_cuda::Cuda;
use cudarc::driver::DriverError;

use super::engine::Engine;
use super::launch::Arg;
use super::linear_quantized::has_use;
use super::scope::Scope;
use super::tensor::{Tensor, Typed, contiguous, dims, empty, engine_of, raw};
use crate::kernels::{QuantizeRows, QuantizedRows};

/// Quantizes rows to codes, or hands them back where codes have no use.
pub(super) fn quantize_rows(
    call: QuantizeRows<Cuda>,
) -> Result<QuantizedRows<Cuda>, QuantizeRows<Cuda>> {
    let Some(engine) = engine_for(&call.x) else {
        return Err(call);
    };
    let quantize = Quantize::new(call.x);
    engine.run(&quantize.x.client, |scope| quantize.run(scope));
    Ok(quantize.rows)
}

/// The engine that quantizes rows `[rows, in]`; `None` where codes have no use.
pub(super) fn engine_for(x: &Typed<2>) -> Option<Arc<Engine>> {
    let (engine, element) = engine_of(x)?;
    let [rows, width] = x.dims();
    has_use(&engine, element, rows, width).then_some(engine)
}

/// Memory of codes U8 `[rows, in]` and scales f32 `[rows]`, of rows of bf16 like a tensor.
pub(super) fn empty_rows(like: &Tensor, rows: usize, width: usize) -> QuantizedRows<Cuda> {
    QuantizedRows {
        values: empty(like, [rows, width].into(), DType::U8),
        scales: empty(like, [rows].into(), DType::F32),
        dtype: FloatDType::BF16,
    }
}

/// Rows that can be quantized.
pub(super) struct Quantize {
    x: Tensor,
    rows: QuantizedRows<Cuda>,
}

impl Quantize {
    /// Takes memory for the codes of rows for which there is an [engine](engine_for).
    pub(super) fn new(x: Typed<2>) -> Self {
        let [rows, width] = x.dims();
        let x = contiguous(raw(x));
        let rows = empty_rows(&x, rows, width);
        Self { x, rows }
    }

    /// Where the quantized rows will be.
    pub(super) fn rows(&self) -> QuantizedRows<Cuda> {
        self.rows.clone()
    }

    /// Starts to quantize them.
    ///
    /// # Errors
    /// The driver's.
    pub(super) fn run(&self, scope: &Scope<'_>) -> Result<(), DriverError> {
        /// Longer rows have a block each, shorter ones a warp each.
        const LONGEST_OF_WARP: usize = 3072;
        const WARPS: usize = 4;
        let [rows, width] = dims(&self.x);
        let at_once = if width <= LONGEST_OF_WARP { WARPS } else { 1 };
        let grid = (rows.div_ceil(at_once) as u32, 1, 1);
        let places = [&self.x, &self.rows.values, &self.rows.scales];
        let places = places.map(|place| Arg::Pointer(scope.pointer(&place.handle)));
        let mut args = places.to_vec();
        args.extend([rows, width].map(|size| Arg::Int(size as i32)));
        scope.launch("fp8_quantize_bf16", grid, &args)
    }
}
