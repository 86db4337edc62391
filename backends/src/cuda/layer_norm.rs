//! Layer norms: with the gated sum that comes before them, and the rounding that follows.

use burn::tensor::DType;
use cudarc::driver::DriverError;

use super::engine::{Arg, Engine, Grid, Scope};
use super::linear::in_dtype;
use super::rounded;
use super::tensor::{Element, Tensor, batch_stride, contiguous, dims, over};

/// Rows of a block, one for each of its warps.
const ROWS: usize = 4;

/// What is normalised, and how.
pub(super) struct Norm {
    pub(super) x: Tensor,
    update: Option<[Tensor; 2]>,
    shift: Tensor,
    scale: Tensor,
    epsilon: f64,
}

/// What a norm gives.
pub(super) struct Normed {
    /// `x` with its update; without one, `x`.
    pub(super) sum: Tensor,
    /// The normalised rows in `x`'s dtype, or their codes, U8 `[rows, channels]`.
    pub(super) y: Tensor,
    /// f32 `[rows]` beside codes.
    pub(super) scales: Option<Tensor>,
}

impl Norm {
    /// * `x`: `[batch, tokens, channels]`.
    /// * `update`: what is added to `x` before, of its shape, and its gate, `[batch, 1, channels]`.
    /// * `shift` and `scale`: `[batch, 1, channels]`; `1 + scale` multiplies.
    /// * `epsilon`: added to the variance.
    pub(super) fn new(
        x: &Tensor,
        update: Option<[&Tensor; 2]>,
        [shift, scale]: [&Tensor; 2],
        epsilon: f64,
    ) -> Self {
        Self {
            x: x.clone(),
            update: update.map(|update| update.map(Tensor::clone)),
            shift: shift.clone(),
            scale: scale.clone(),
            epsilon,
        }
    }

    /// One pass; `None` where the kernels do not know the dtype, or where rounded rows have no use.
    pub(super) fn run(self, rounded: bool) -> Option<Normed> {
        let element = Element::of(self.x.dtype)?;
        let engine = Engine::of(&self.x.device).ok()?;
        let dtype = self.x.dtype;
        let as_read = |tensor| contiguous(in_dtype(tensor, dtype));
        let x = as_read(self.x);
        let update = self.update.map(|update| update.map(as_read));
        let [shift, scale] = [self.shift, self.scale].map(as_read);
        let [batch, tokens, channels] = dims(&x);
        let rows = batch * tokens;
        if rounded && !rounded::has_use(&engine, element, rows, channels) {
            return None;
        }
        let elements = rows * channels;
        let (sum, y, scales) = engine.run(&x.client, |scope| {
            let sum = update
                .is_some()
                .then(|| scope.empty(elements * element.size()));
            let y = scope.empty(elements * if rounded { 1 } else { element.size() });
            let scales = rounded.then(|| scope.empty(rows * size_of::<f32>()));
            if rows > 0 {
                let of = |tensor: &Tensor| Arg::Pointer(scope.pointer(&tensor.handle));
                let mut args = vec![of(&x)];
                let mut strides = vec![];
                if let Some([output, gate]) = &update {
                    args.extend([of(output), of(gate)]);
                    strides.push(batch_stride(gate));
                }
                args.extend([of(&shift), of(&scale)]);
                strides.extend([batch_stride(&shift), batch_stride(&scale)]);
                let results = [&sum, &Some(y.clone()), &scales];
                let results = results.into_iter().flatten();
                args.extend(results.map(|result| Arg::Pointer(scope.pointer(result))));
                args.extend([Arg::Int(channels as i32), Arg::Int(tokens as i32)]);
                args.extend(strides.into_iter().map(Arg::Long));
                args.push(Arg::Float(self.epsilon as f32));
                let name = match (update.is_some(), rounded) {
                    (false, false) => "layer_norm_modulate",
                    (false, true) => "layer_norm_modulate_quantize",
                    (true, false) => "gated_add_layer_norm",
                    (true, true) => "gated_add_layer_norm_quantize",
                };
                launch(scope, &element.kernel(name), [batch, tokens], &args)?;
            }
            Ok((sum, y, scales))
        });
        let shape = [batch, tokens, channels];
        let y = match rounded {
            false => over(&x, y, shape.into(), dtype),
            true => over(&x, y, [rows, channels].into(), DType::U8),
        };
        let scales = scales.map(|scales| over(&x, scales, [rows].into(), DType::F32));
        let sum = match sum {
            Some(sum) => over(&x, sum, shape.into(), dtype),
            None => x,
        };
        Some(Normed { sum, y, scales })
    }
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
