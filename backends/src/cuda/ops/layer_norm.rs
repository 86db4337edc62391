//! Layer norms, with the gated sum that comes before them and the quantization that follows.

use burn_cuda::Cuda;
use cudarc::driver::DriverError;

use super::linear_quantized::has_use;
use super::quantize::empty_rows;
use crate::cuda::concurrent::{self, Launch};
use crate::cuda::element::Element;
use crate::cuda::launch::Arg;
use crate::cuda::scope::Scope;
use crate::cuda::tensor::{
    Tensor, batch_stride, contiguous, dims, empty, engine_of, in_dtype, parameter, raw, typed,
};
use crate::kernels::{Activations, GatedUpdate, LayerNorm, Normed};

/// Rows of a block, one for each of its warps.
const ROWS: usize = 4;

/// Hands the inputs back where the kernels do not know the dtype, or where codes have no use.
pub(super) fn layer_norm(call: LayerNorm<Cuda>) -> Result<Normed<Cuda>, LayerNorm<Cuda>> {
    let Some((engine, element)) = engine_of(&call.x) else {
        return Err(call);
    };
    let [batch, tokens, channels] = call.x.dims();
    let rows = batch * tokens;
    if call.quantize && !has_use(&engine, element, rows, channels) {
        return Err(call);
    }
    let LayerNorm {
        x,
        update,
        shift,
        scale,
        epsilon,
        quantize,
    } = call;
    let x = contiguous(raw(x));
    let (client, dtype) = (x.client.clone(), x.dtype);
    let y = match quantize {
        false => Activations::Float(typed(empty(&x, [rows, channels].into(), dtype))),
        true => Activations::Quantized(empty_rows(&x, rows, channels)),
    };
    let update = update.map(|GatedUpdate { gate, output }| Update {
        gate: parameter(raw(gate), dtype),
        output: contiguous(in_dtype(raw(output), dtype)),
        sum: empty(&x, x.meta.shape().clone(), dtype),
    });
    let normed = Normed {
        sum: typed(update.as_ref().map_or(&x, |update| &update.sum).clone()),
        y: y.clone(),
    };
    let norm = LayerNormLaunch {
        x,
        update,
        shift: parameter(raw(shift), dtype),
        scale: parameter(raw(scale), dtype),
        epsilon,
        element,
        y,
    };
    concurrent::launch(&engine, &client, norm);
    Ok(normed)
}

/// A norm with the memory of all that it reads and writes.
struct LayerNormLaunch {
    x: Tensor,
    update: Option<Update>,
    shift: Tensor,
    scale: Tensor,
    epsilon: f64,
    element: Element,
    y: Activations<Cuda>,
}

struct Update {
    gate: Tensor,
    output: Tensor,
    sum: Tensor,
}

impl Launch for LayerNormLaunch {
    fn launch(&self, scope: &Scope<'_>) -> Result<(), DriverError> {
        let [batch, tokens, channels]: [usize; 3] = dims(&self.x);
        if batch * tokens == 0 {
            return Ok(());
        }
        let of = |tensor: &Tensor| Arg::Pointer(scope.pointer(&tensor.handle));
        let mut args = vec![of(&self.x)];
        let mut strides = vec![];
        if let Some(Update { gate, output, .. }) = &self.update {
            args.extend([of(output), of(gate)]);
            strides.push(batch_stride(gate));
        }
        args.extend([of(&self.shift), of(&self.scale)]);
        strides.extend([batch_stride(&self.shift), batch_stride(&self.scale)]);
        if let Some(Update { sum, .. }) = &self.update {
            args.push(of(sum));
        }
        match &self.y {
            Activations::Float(y) => args.push(of(&raw(y.clone()))),
            Activations::Quantized(rows) => args.extend([of(&rows.values), of(&rows.scales)]),
        }
        args.extend([Arg::Int(channels as i32), Arg::Int(tokens as i32)]);
        args.extend(strides.into_iter().map(Arg::Long));
        args.push(Arg::Float(self.epsilon as f32));
        let quantized = matches!(self.y, Activations::Quantized(_));
        let name = match (self.update.is_some(), quantized) {
            (false, false) => "layer_norm_modulate",
            (false, true) => "layer_norm_modulate_quantize",
            (true, false) => "gated_add_layer_norm",
            (true, true) => "gated_add_layer_norm_quantize",
        };
        let grid = (tokens.div_ceil(ROWS) as u32, batch as u32, 1);
        scope.launch(&self.element.kernel(name), grid, &args)
    }
}
