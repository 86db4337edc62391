//! Layer norms: with the gated sum that comes before them, and the rounding that follows.

use std::sync::Arc;

use burn_cuda::Cuda;
use cudarc::driver::DriverError;

use super::engine::{Arg, Engine, Grid, Scope};
use super::linear::in_dtype;
use super::round::empty_rows;
use super::rounded;
use super::tensor::{Element, Tensor, batch_stride, contiguous, dims, empty, over};
use crate::fp8::{Activations, NormCall};

/// Rows of a block, one for each of its warps.
const ROWS: usize = 4;

/// What is normalised, and how.
pub(super) struct Norm {
    x: Tensor,
    update: Option<[Tensor; 2]>,
    shift: Tensor,
    scale: Tensor,
    epsilon: f64,
    element: Element,
    /// Where the input with its update will be; itself where there is none.
    sum: Tensor,
    y: Activations<Cuda>,
}

impl Norm {
    /// With the engine of its device; `None` where the kernels do not know the dtype, or where rounded
    /// rows are asked for and have no use.
    pub(super) fn new(call: NormCall<Cuda>, rounded: bool) -> Option<(Arc<Engine>, Self)> {
        let NormCall {
            x,
            update,
            shift,
            scale,
            epsilon,
        } = call;
        let element = Element::of(x.dtype)?;
        let engine = Engine::of(&x.device).ok()?;
        let [batch, tokens, channels] = dims(&x);
        let rows = batch * tokens;
        if rounded && !rounded::has_use(&engine, element, rows, channels) {
            return None;
        }
        let dtype = x.dtype;
        let as_read = |tensor| contiguous(in_dtype(tensor, dtype));
        let x = as_read(x);
        let norm = Self {
            sum: match update {
                None => x.clone(),
                Some(_) => empty(&x, x.meta.shape().clone(), dtype),
            },
            y: match rounded {
                false => Activations::Exact(empty(&x, [rows, channels].into(), dtype)),
                true => Activations::Rounded(empty_rows(&x, rows, channels)),
            },
            update: match update {
                None => None,
                Some(update) => Some([update.output.compute(dims(&x)), update.gate].map(as_read)),
            },
            x,
            shift: as_read(shift),
            scale: as_read(scale),
            epsilon,
            element,
        };
        Some((engine, norm))
    }

    /// Where the input with its update will be, `[batch, tokens, channels]`.
    pub(super) fn sum(&self) -> Tensor {
        self.sum.clone()
    }

    /// Where the normalised tokens will be, `[batch * tokens, channels]`.
    pub(super) fn y(&self) -> Activations<Cuda> {
        self.y.clone()
    }

    /// Starts it.
    ///
    /// # Errors
    /// The driver's.
    pub(super) fn run(&self, scope: &Scope<'_>) -> Result<(), DriverError> {
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
        if self.update.is_some() {
            args.push(of(&self.sum));
        }
        match &self.y {
            Activations::Exact(y) => args.push(of(y)),
            Activations::Rounded(rows) => args.extend([of(&rows.values), of(&rows.scales)]),
        }
        args.extend([Arg::Int(channels as i32), Arg::Int(tokens as i32)]);
        args.extend(strides.into_iter().map(Arg::Long));
        args.push(Arg::Float(self.epsilon as f32));
        let rounded = matches!(self.y, Activations::Rounded(_));
        let name = match (self.update.is_some(), rounded) {
            (false, false) => "layer_norm_modulate",
            (false, true) => "layer_norm_modulate_quantize",
            (true, false) => "gated_add_layer_norm",
            (true, true) => "gated_add_layer_norm_quantize",
        };
        let grid = Grid {
            blocks: (tokens.div_ceil(ROWS) as u32, batch as u32, 1),
            threads: 32 * ROWS as u32,
            shared: 0,
        };
        scope.launch(&self.element.kernel(name), grid, &args)
    }
}

/// The input with its update, and its normalised tokens; `None` as of [`Norm::new`].
pub(super) fn norm(call: NormCall<Cuda>) -> Option<[Tensor; 2]> {
    let (engine, norm) = Norm::new(call, false)?;
    let Activations::Exact(y) = norm.y() else {
        return None;
    };
    engine.run(&norm.x.client, |scope| norm.run(scope));
    let y = over(&norm.x, y.handle, norm.x.meta.shape().clone(), norm.x.dtype);
    Some([norm.sum, y])
}
