//! Layer norms: with the gated sum that comes before them, and the rounding that follows.

use burn_cuda::Cuda;
use cudarc::driver::DriverError;

use super::engine::Engine;
use super::launch::Arg;
use super::linear::in_dtype;
use super::quantize::empty_rows;
use super::scope::Scope;
use super::tensor::{
    Element, Tensor, Typed, batch_stride, contiguous, dims, empty, engine_of, over, raw, typed,
};
use crate::kernels::{Activations, GatedAdd, GatedAddLayerNorm, ModulatedLayerNorm};

/// Rows of a block, one for each of its warps.
const ROWS: usize = 4;

/// The inputs of a norm.
pub(super) struct Inputs {
    /// `[batch, tokens, channels]`.
    pub(super) x: Tensor,
    /// What is added to `x` before the norm, of its shape, and the gate `[batch, 1, channels]`
    /// that multiplies it.
    pub(super) update: Option<[Tensor; 2]>,
    /// `[batch, 1, channels]`.
    pub(super) shift: Tensor,
    /// `[batch, 1, channels]`.
    pub(super) scale: Tensor,
    pub(super) epsilon: f64,
}

/// A norm with memory for its results.
pub(super) struct Norm {
    inputs: Inputs,
    element: Element,
    sum: Tensor,
    y: Activations<Cuda>,
}

impl Norm {
    /// Takes memory for the results, which are quantized if `quantize`: then
    /// [`has_use`](super::linear_quantized::has_use) must say so.
    pub(super) fn new(element: Element, inputs: Inputs, quantize: bool) -> Self {
        let [batch, tokens, channels] = dims(&inputs.x);
        let rows = batch * tokens;
        let dtype = inputs.x.dtype;
        let as_read = |tensor| contiguous(in_dtype(tensor, dtype));
        let x = as_read(inputs.x);
        Self {
            sum: match inputs.update {
                None => x.clone(),
                Some(_) => empty(&x, x.meta.shape().clone(), dtype),
            },
            y: match quantize {
                false => Activations::Float(typed(empty(&x, [rows, channels].into(), dtype))),
                true => Activations::Quantized(empty_rows(&x, rows, channels)),
            },
            inputs: Inputs {
                update: inputs.update.map(|update| update.map(as_read)),
                x,
                shift: as_read(inputs.shift),
                scale: as_read(inputs.scale),
                epsilon: inputs.epsilon,
            },
            element,
        }
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
        let Inputs {
            x,
            update,
            shift,
            scale,
            epsilon,
        } = &self.inputs;
        let [batch, tokens, channels]: [usize; 3] = dims(x);
        if batch * tokens == 0 {
            return Ok(());
        }
        let of = |tensor: &Tensor| Arg::Pointer(scope.pointer(&tensor.handle));
        let mut args = vec![of(x)];
        let mut strides = vec![];
        if let Some([output, gate]) = update {
            args.extend([of(output), of(gate)]);
            strides.push(batch_stride(gate));
        }
        args.extend([of(shift), of(scale)]);
        strides.extend([batch_stride(shift), batch_stride(scale)]);
        if update.is_some() {
            args.push(of(&self.sum));
        }
        match &self.y {
            Activations::Float(y) => args.push(of(&raw(y.clone()))),
            Activations::Quantized(rows) => args.extend([of(&rows.values), of(&rows.scales)]),
        }
        args.extend([Arg::Int(channels as i32), Arg::Int(tokens as i32)]);
        args.extend(strides.into_iter().map(Arg::Long));
        args.push(Arg::Float(*epsilon as f32));
        let rounded = matches!(self.y, Activations::Quantized(_));
        let name = match (update.is_some(), rounded) {
            (false, false) => "layer_norm_modulate",
            (false, true) => "layer_norm_modulate_quantize",
            (true, false) => "gated_add_layer_norm",
            (true, true) => "gated_add_layer_norm_quantize",
        };
        let grid = (tokens.div_ceil(ROWS) as u32, batch as u32, 1);
        scope.launch(&self.element.kernel(name), grid, &args)
    }
}

/// Runs a norm whose results are not quantized: the input with its update, and its normalised
/// tokens.
fn run(engine: &Engine, element: Element, inputs: Inputs) -> [Typed<3>; 2] {
    let norm = Norm::new(element, inputs, false);
    let x = &norm.inputs.x;
    engine.run(&x.client, |scope| norm.run(scope));
    let shape = x.meta.shape().clone();
    let y = match norm.y() {
        Activations::Float(y) => raw(y),
        Activations::Quantized(_) => unreachable!("the norm was made with exact results"),
    };
    let y = over(x, y.handle, shape, x.dtype);
    [norm.sum(), y].map(typed)
}

pub(super) fn modulated_layer_norm(
    call: ModulatedLayerNorm<Cuda>,
) -> Result<Typed<3>, ModulatedLayerNorm<Cuda>> {
    let Some((engine, element)) = engine_of(&call.x) else {
        return Err(call);
    };
    let inputs = Inputs {
        x: raw(call.x),
        update: None,
        shift: raw(call.shift),
        scale: raw(call.scale),
        epsilon: call.epsilon,
    };
    let [_, y] = run(&engine, element, inputs);
    Ok(y)
}

pub(super) fn gated_add_layer_norm(
    call: GatedAddLayerNorm<Cuda>,
) -> Result<[Typed<3>; 2], GatedAddLayerNorm<Cuda>> {
    let Some((engine, element)) = engine_of(&call.sum.residual) else {
        return Err(call);
    };
    let GatedAdd { residual, x, gate } = call.sum;
    let inputs = Inputs {
        x: raw(residual),
        update: Some([raw(x), raw(gate)]),
        shift: raw(call.shift),
        scale: raw(call.scale),
        epsilon: call.epsilon,
    };
    Ok(run(&engine, element, inputs))
}
