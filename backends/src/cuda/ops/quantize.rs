//! Rows quantized to E4M3, each by a scale of its own.

use burn::tensor::{DType, FloatDType, Int};
use burn_cuda::Cuda;
use cudarc::driver::DriverError;

use super::linear_quantized::has_use;
use crate::cuda::concurrent::{self, Launch};
use crate::cuda::launch::Arg;
use crate::cuda::scope::Scope;
use crate::cuda::tensor::{Tensor, contiguous, dims, empty, engine_of, over, raw};
use crate::fp8::Fp8Format;
use crate::kernels::{QuantizeRows, QuantizedRows};
use crate::weight::portable::decode_all;

/// Quantizes rows to codes, or hands them back where codes have no use.
pub(super) fn quantize_rows(
    call: QuantizeRows<Cuda>,
) -> Result<QuantizedRows<Cuda>, QuantizeRows<Cuda>> {
    let Some((engine, element)) = engine_of(&call.x) else {
        return Err(call);
    };
    let [rows, width] = call.x.dims();
    if !has_use(&engine, element, rows, width) {
        return Err(call);
    }
    let x = contiguous(raw(call.x));
    let rows = empty_rows(&x, rows, width);
    let client = x.client.clone();
    let quantize = QuantizeLaunch {
        x,
        rows: rows.clone(),
    };
    concurrent::launch(&engine, &client, quantize);
    Ok(rows)
}

/// Decodes codes to numbers, with scales `[rows, 1]`, by Burn's own operations.
pub(super) fn decode_rows(x: QuantizedRows<Cuda>) -> QuantizedRows<Cuda> {
    if x.values.dtype != DType::U8 {
        return x;
    }
    let [rows, _] = dims(&x.values);
    let values = decode_all(
        burn::tensor::Tensor::<Cuda, 2, Int>::from_primitive(x.values),
        Fp8Format::E4M3,
    );
    QuantizedRows {
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

/// Memory of codes U8 `[rows, in]` and scales f32 `[rows]`, of rows of bf16 like a tensor.
pub(super) fn empty_rows(like: &Tensor, rows: usize, width: usize) -> QuantizedRows<Cuda> {
    QuantizedRows {
        values: empty(like, [rows, width].into(), DType::U8),
        scales: empty(like, [rows].into(), DType::F32),
        dtype: FloatDType::BF16,
    }
}

struct QuantizeLaunch {
    x: Tensor,
    rows: QuantizedRows<Cuda>,
}

impl Launch for QuantizeLaunch {
    fn launch(&self, scope: &Scope<'_>) -> Result<(), DriverError> {
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
