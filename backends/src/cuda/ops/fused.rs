//! The operations between the matrix products, one kernel each.

use std::sync::Arc;

use burn::tensor::DType;
use burn_cuda::Cuda;

use super::linear::blocks;
use crate::cuda::element::Element;
use crate::cuda::engine::Engine;
use crate::cuda::launch::Arg;
use crate::cuda::tensor::{
    Tensor, Typed, batch_stride, contiguous, dims, engine_of, in_dtype, over, raw, typed,
};
use crate::kernels::{ChannelNorm, GatedAdd, GeluTanh, RmsNorm, SiluMul};

pub(super) fn rms_norm<const D: usize>(
    call: RmsNorm<Cuda, D>,
) -> Result<Typed<D>, RmsNorm<Cuda, D>> {
    let Some((engine, element)) = engine_of(&call.x) else {
        return Err(call);
    };
    let RmsNorm { x, weight, epsilon } = call;
    let weight = contiguous(in_dtype(raw(weight), DType::F32));
    let x = contiguous(raw(x));
    let shape = x.meta.shape().clone();
    let channels = shape[shape.num_dims() - 1];
    let elements = shape.num_elements();
    let rows = elements / channels.max(1);
    // Rows that a block takes at a time.
    let at_once = match channels {
        0..=64 => 32,
        65..=128 => 16,
        129..=1024 => 8,
        _ => 1,
    };
    let y = engine.run(&x.client, |scope| {
        let y = scope.empty(elements * element.size());
        if elements > 0 {
            scope.launch(
                &element.kernel("rms_norm"),
                (blocks(rows, at_once), 1, 1),
                &[
                    Arg::Pointer(scope.pointer(&x.handle)),
                    Arg::Pointer(scope.pointer(&weight.handle)),
                    Arg::Pointer(scope.pointer(&y)),
                    Arg::Long(rows as i64),
                    Arg::Int(channels as i32),
                    Arg::Float(epsilon as f32),
                ],
            )?;
        }
        Ok(y)
    });
    Ok(typed(over(&x, y, shape, x.dtype)))
}

/// Runs an element-wise kernel of one or two operands, in the shape and the dtype of the first.
fn element_wise<const N: usize>(
    name: &str,
    (engine, element): (Arc<Engine>, Element),
    operands: [Tensor; N],
) -> Tensor {
    let (shape, dtype) = (operands[0].meta.shape().clone(), operands[0].dtype);
    let operands = operands.map(|operand| contiguous(in_dtype(operand, dtype)));
    let elements = shape.num_elements();
    let y = engine.run(&operands[0].client, |scope| {
        let y = scope.empty(elements * element.size());
        if elements > 0 {
            let operands = operands.iter();
            let mut args: Vec<Arg> = operands
                .map(|operand| Arg::Pointer(scope.pointer(&operand.handle)))
                .collect();
            args.push(Arg::Pointer(scope.pointer(&y)));
            args.push(Arg::Long(elements as i64));
            let grid = (blocks(elements, 2048), 1, 1);
            scope.launch(&element.kernel(name), grid, &args)?;
        }
        Ok(y)
    });
    over(&operands[0], y, shape, dtype)
}

pub(super) fn gelu_tanh<const D: usize>(
    call: GeluTanh<Cuda, D>,
) -> Result<Typed<D>, GeluTanh<Cuda, D>> {
    match engine_of(&call.x) {
        Some(engine) => Ok(typed(element_wise("gelu_tanh", engine, [raw(call.x)]))),
        None => Err(call),
    }
}

pub(super) fn silu_mul<const D: usize>(
    call: SiluMul<Cuda, D>,
) -> Result<Typed<D>, SiluMul<Cuda, D>> {
    let Some(engine) = engine_of(&call.gate) else {
        return Err(call);
    };
    let operands = [call.gate, call.up].map(raw);
    Ok(typed(element_wise("silu_mul", engine, operands)))
}

pub(super) fn gated_add(call: GatedAdd<Cuda>) -> Result<Typed<3>, GatedAdd<Cuda>> {
    let Some((engine, element)) = engine_of(&call.residual) else {
        return Err(call);
    };
    let GatedAdd { residual, x, gate } = call;
    let residual = raw(residual);
    let [x, gate] = [x, gate].map(|tensor| contiguous(in_dtype(raw(tensor), residual.dtype)));
    let residual = contiguous(residual);
    let [batch, tokens, channels] = dims(&residual);
    let y = engine.run(&x.client, |scope| {
        let y = scope.empty(batch * tokens * channels * element.size());
        if batch * tokens > 0 {
            scope.launch(
                &element.kernel("gated_add"),
                ((batch * tokens) as u32, 1, 1),
                &[
                    Arg::Pointer(scope.pointer(&residual.handle)),
                    Arg::Pointer(scope.pointer(&x.handle)),
                    Arg::Pointer(scope.pointer(&gate.handle)),
                    Arg::Pointer(scope.pointer(&y)),
                    Arg::Int(channels as i32),
                    Arg::Int(tokens as i32),
                    Arg::Long(batch_stride(&gate)),
                ],
            )?;
        }
        Ok(y)
    });
    let shape = [batch, tokens, channels].into();
    Ok(typed(over(&x, y, shape, x.dtype)))
}

pub(super) fn channel_norm(call: ChannelNorm<Cuda>) -> Result<Typed<4>, ChannelNorm<Cuda>> {
    let Some((engine, element)) = engine_of(&call.x) else {
        return Err(call);
    };
    let ChannelNorm { x, gamma, silu } = call;
    let gamma = contiguous(in_dtype(raw(gamma), DType::F32));
    let x = contiguous(raw(x));
    let [batch, channels, height, width] = dims(&x);
    let plane = height * width;
    // Pixels of a block.
    let at_once = match element {
        Element::Bf16 => 64,
        Element::F32 => 32,
    };
    let elements = batch * channels * plane;
    let y = engine.run(&x.client, |scope| {
        let y = scope.empty(elements * element.size());
        if elements > 0 {
            let grid = (plane.div_ceil(at_once) as u32, batch as u32, 1);
            scope.launch(
                &element.kernel("channel_norm"),
                grid,
                &[
                    Arg::Pointer(scope.pointer(&x.handle)),
                    Arg::Pointer(scope.pointer(&gamma.handle)),
                    Arg::Pointer(scope.pointer(&y)),
                    Arg::Int(channels as i32),
                    Arg::Long(plane as i64),
                    Arg::Int(i32::from(silu)),
                ],
            )?;
        }
        Ok(y)
    });
    let shape = [batch, channels, height, width].into();
    Ok(typed(over(&x, y, shape, x.dtype)))
}
