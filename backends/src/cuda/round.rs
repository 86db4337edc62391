//! Rows rounded to E4M3, each by a scale of its own.

use std::sync::Arc;

use burn::tensor::{DType, FloatDType, Int};
use burn_cuda::Cuda;
use cudarc::driver::DriverError;

use super::engine::{Arg, Engine, Grid, Scope};
use super::rounded::has_use;
use super::tensor::{Element, Tensor, contiguous, dims, empty, over};
use crate::fp8::portable::decode_all;
use crate::fp8::{Fp8Format, RoundedRows};

/// See [`Fp8Ops::round_rows`](crate::fp8::Fp8Ops::round_rows); `None` where codes have no use.
pub(super) fn round_rows(x: Tensor) -> Option<RoundedRows<Cuda>> {
    let (engine, round) = Round::new(x)?;
    engine.run(&round.x.client, |scope| round.run(scope));
    Some(round.rows)
}

/// Memory of codes U8 `[rows, in]` and scales f32 `[rows]`, of rows of bf16 like a tensor.
pub(super) fn empty_rows(like: &Tensor, rows: usize, width: usize) -> RoundedRows<Cuda> {
    RoundedRows {
        values: empty(like, [rows, width].into(), DType::U8),
        scales: empty(like, [rows].into(), DType::F32),
        dtype: FloatDType::BF16,
    }
}

/// Rows that can be rounded.
pub(super) struct Round {
    x: Tensor,
    rows: RoundedRows<Cuda>,
}

impl Round {
    /// With the engine of its device; `None` where codes have no use.
    pub(super) fn new(x: Tensor) -> Option<(Arc<Engine>, Self)> {
        let element = Element::of(x.dtype)?;
        let engine = Engine::of(&x.device).ok()?;
        let [rows, width] = dims(&x);
        if !has_use(&engine, element, rows, width) {
            return None;
        }
        let x = contiguous(x);
        let rows = empty_rows(&x, rows, width);
        Some((engine, Self { x, rows }))
    }

    /// Where the rounded rows will be.
    pub(super) fn rows(&self) -> RoundedRows<Cuda> {
        self.rows.clone()
    }

    /// Starts to round them.
    ///
    /// # Errors
    /// The driver's.
    pub(super) fn run(&self, scope: &Scope<'_>) -> Result<(), DriverError> {
        /// Longer rows have a block each, shorter ones a warp each.
        const LONGEST_OF_WARP: usize = 3072;
        const WARPS: usize = 4;
        let [rows, width] = dims(&self.x);
        let at_once = if width <= LONGEST_OF_WARP { WARPS } else { 1 };
        let grid = Grid {
            blocks: (rows.div_ceil(at_once) as u32, 1, 1),
            threads: 32 * WARPS as u32,
            shared: 0,
        };
        let places = [&self.x, &self.rows.values, &self.rows.scales];
        let places = places.map(|place| Arg::Pointer(scope.pointer(&place.handle)));
        let mut args = places.to_vec();
        args.extend([rows, width].map(|size| Arg::Int(size as i32)));
        scope.launch("fp8_quantize_bf16", grid, &args)
    }
}

/// Rows whose codes no product takes, as the portable body knows them.
pub(super) fn decoded(x: RoundedRows<Cuda>) -> RoundedRows<Cuda> {
    if x.values.dtype != DType::U8 {
        return x;
    }
    let [rows, _] = dims(&x.values);
    let values = decode_all(
        burn::tensor::Tensor::<Cuda, 2, Int>::from_primitive(x.values),
        Fp8Format::E4M3,
    );
    RoundedRows {
        values: values.cast(x.dtype).into_primitive().tensor(),
        scales: over(
            &x.scales,
            x.scales.handle.clone(),
            [rows, 1].into(),
            DType::F32,
        ),
        dtype: x.dtype,
    }
}
