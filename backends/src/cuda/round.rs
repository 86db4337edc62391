//! Rows rounded to E4M3, each by a scale of its own.

use std::sync::Arc;

use burn::tensor::{DType, FloatDType, Int};
use burn_cubecl::cubecl::server::Handle;
use burn_cuda::Cuda;
use cudarc::driver::DriverError;

use super::engine::{Arg, Engine, Grid, Scope};
use super::rounded::has_use;
use super::tensor::{Element, Tensor, contiguous, dims, over};
use crate::fp8::portable::decode_all;
use crate::fp8::{Fp8Format, RoundedRows};

/// See [`Fp8Ops::round_rows`](crate::fp8::Fp8Ops::round_rows): codes U8 `[rows, in]` and scales f32
/// `[rows]`; `None` where codes have no use.
pub(super) fn round_rows(x: Tensor) -> Option<RoundedRows<Cuda>> {
    let (engine, x) = suitable(x)?;
    let rounded = engine.run(&x.client, |scope| {
        let rounded = Rounded::take(scope, &x);
        rounded.fill(scope, &x)?;
        Ok(rounded)
    });
    let [rows, width] = dims(&x);
    Some(RoundedRows {
        values: over(&x, rounded.codes, [rows, width].into(), DType::U8),
        scales: over(&x, rounded.scales, [rows].into(), DType::F32),
        dtype: FloatDType::BF16,
    })
}

/// Rows as they are read where they are rounded, and the engine of their device; `None` where codes
/// have no use.
pub(super) fn suitable(x: Tensor) -> Option<(Arc<Engine>, Tensor)> {
    let element = Element::of(x.dtype)?;
    let engine = Engine::of(&x.device).ok()?;
    let [rows, width] = dims(&x);
    has_use(&engine, element, rows, width).then(|| (engine, contiguous(x)))
}

/// Memory of codes and scales.
pub(super) struct Rounded {
    pub(super) codes: Handle,
    pub(super) scales: Handle,
}

impl Rounded {
    /// For rows `x`.
    pub(super) fn take(scope: &Scope<'_>, x: &Tensor) -> Self {
        let [rows, width] = dims(x);
        Self {
            codes: scope.empty(rows * width),
            scales: scope.empty(rows * size_of::<f32>()),
        }
    }

    /// Starts to round `x`.
    pub(super) fn fill(&self, scope: &Scope<'_>, x: &Tensor) -> Result<(), DriverError> {
        /// Longer rows have a block each, shorter ones a warp each.
        const LONGEST_OF_WARP: usize = 3072;
        const WARPS: usize = 4;
        let [rows, width] = dims(x);
        let at_once = if width <= LONGEST_OF_WARP { WARPS } else { 1 };
        let grid = Grid {
            blocks: (rows.div_ceil(at_once) as u32, 1, 1),
            threads: 32 * WARPS as u32,
            shared: 0,
        };
        let places = [&x.handle, &self.codes, &self.scales];
        let places = places.map(|place| Arg::Pointer(scope.pointer(place)));
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
