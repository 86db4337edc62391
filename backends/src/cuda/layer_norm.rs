//! Layer norms: with the gated sum that comes before them, and the rounding that follows.

use std::sync::Arc;

use burn::tensor::DType;
use burn_cubecl::cubecl::server::Handle;
use burn_cuda::Cuda;
use cudarc::driver::DriverError;

use super::engine::{Arg, Engine, Grid, Scope};
use super::linear::in_dtype;
use super::rounded;
use super::tensor::{Element, Tensor, batch_stride, contiguous, dims, over};
use crate::fp8::{NormCall, NormResult, Normed, RoundedRows};

/// Rows of a block, one for each of its warps.
const ROWS: usize = 4;

/// What is normalised, and how.
pub(super) struct Norm {
    x: Tensor,
    update: Option<[Tensor; 2]>,
    shift: Tensor,
    scale: Tensor,
    epsilon: f64,
    rounded: bool,
    element: Element,
}

/// Memory of what a norm gives.
struct Room {
    sum: Option<Handle>,
    y: Handle,
    scales: Option<Handle>,
}

impl Norm {
    /// With the engine of its device; `None` where the kernels do not know the dtype, or where rounded
    /// rows have no use.
    pub(super) fn new(call: NormCall<Cuda>) -> Option<(Arc<Engine>, Self)> {
        let NormCall {
            x,
            update,
            shift,
            scale,
            epsilon,
            rounded,
        } = call;
        let element = Element::of(x.dtype)?;
        let engine = Engine::of(&x.device).ok()?;
        let [batch, tokens, channels] = dims(&x);
        if rounded && !rounded::has_use(&engine, element, batch * tokens, channels) {
            return None;
        }
        let dtype = x.dtype;
        let as_read = |tensor| contiguous(in_dtype(tensor, dtype));
        let norm = Self {
            x: as_read(x),
            update: update.map(|update| update.map(as_read)),
            shift: as_read(shift),
            scale: as_read(scale),
            epsilon,
            rounded,
            element,
        };
        Some((engine, norm))
    }

    fn take(&self, scope: &Scope<'_>) -> Room {
        let [batch, tokens, channels]: [usize; 3] = dims(&self.x);
        let rows = batch * tokens;
        let size = self.element.size();
        let sum = self.update.as_ref();
        Room {
            sum: sum.map(|_| scope.empty(rows * channels * size)),
            y: scope.empty(rows * channels * if self.rounded { 1 } else { size }),
            scales: self.rounded.then(|| scope.empty(rows * size_of::<f32>())),
        }
    }

    fn run(&self, scope: &Scope<'_>, room: &Room) -> Result<(), DriverError> {
        let [batch, tokens, channels]: [usize; 3] = dims(&self.x);
        if batch * tokens == 0 {
            return Ok(());
        }
        let of = |tensor: &Tensor| Arg::Pointer(scope.pointer(&tensor.handle));
        let mut args = vec![of(&self.x)];
        let mut strides = vec![];
        if let Some([output, gate]) = &self.update {
            args.extend([of(output), of(gate)]);
            strides.push(batch_stride(gate));
        }
        args.extend([of(&self.shift), of(&self.scale)]);
        strides.extend([batch_stride(&self.shift), batch_stride(&self.scale)]);
        let results = [room.sum.as_ref(), Some(&room.y), room.scales.as_ref()];
        let results = results.into_iter().flatten();
        args.extend(results.map(|result| Arg::Pointer(scope.pointer(result))));
        args.extend([Arg::Int(channels as i32), Arg::Int(tokens as i32)]);
        args.extend(strides.into_iter().map(Arg::Long));
        args.push(Arg::Float(self.epsilon as f32));
        let name = match (self.update.is_some(), self.rounded) {
            (false, false) => "layer_norm_modulate",
            (false, true) => "layer_norm_modulate_quantize",
            (true, false) => "gated_add_layer_norm",
            (true, true) => "gated_add_layer_norm_quantize",
        };
        launch(scope, &self.element.kernel(name), [batch, tokens], &args)
    }

    fn result(self, room: Room) -> NormResult<Cuda> {
        let x = self.x;
        let [batch, tokens, channels]: [usize; 3] = dims(&x);
        let rows = batch * tokens;
        let float = |handle| over(&x, handle, [batch, tokens, channels].into(), x.dtype);
        let normed = match room.scales {
            None => Normed::Exact(float(room.y)),
            Some(scales) => Normed::Rounded(RoundedRows {
                values: over(&x, room.y, [rows, channels].into(), DType::U8),
                scales: over(&x, scales, [rows].into(), DType::F32),
                dtype: x.dtype.into(),
            }),
        };
        let sum = room.sum.map(float);
        NormResult {
            sum: sum.unwrap_or(x),
            normed,
        }
    }
}

/// See [`Norm::new`].
pub(super) fn norm(call: NormCall<Cuda>) -> Option<NormResult<Cuda>> {
    let (engine, norm) = Norm::new(call)?;
    let room = engine.run(&norm.x.client, |scope| {
        let room = norm.take(scope);
        norm.run(scope, &room)?;
        Ok(room)
    });
    Some(norm.result(room))
}

/// See [`Fp8Ops::norm_both`](crate::fp8::Fp8Ops::norm_both): the first runs beside the second. Where
/// the kernels do not know one of them, each is computed by itself.
pub(super) fn norm_both(calls: [NormCall<Cuda>; 2]) -> [NormResult<Cuda>; 2] {
    let [Some((engine, first)), Some((_, second))] = calls.clone().map(Norm::new) else {
        return calls.map(|call| norm(call.clone()).unwrap_or_else(|| call.compute()));
    };
    let [x, y] = engine.run(&first.x.client, |scope| {
        let [x, y] = [&first, &second].map(|norm| norm.take(scope));
        scope.beside(|| first.run(scope, &x))?;
        second.run(scope, &y)?;
        Ok([x, y])
    });
    [first.result(x), second.result(y)]
}

fn launch(
    scope: &Scope<'_>,
    kernel: &str,
    [batch, tokens]: [usize; 2],
    args: &[Arg],
) -> Result<(), DriverError> {
    let grid = Grid {
        blocks: (tokens.div_ceil(ROWS) as u32, batch as u32, 1),
        threads: 32 * ROWS as u32,
        shared: 0,
    };
    scope.launch(kernel, grid, args)
}
