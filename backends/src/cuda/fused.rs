//! The operations between the matrix products, one kernel each.

use burn::tensor::DType;

use super::engine::{Arg, Engine, Grid};
use super::linear::{THREADS, blocks, in_dtype};
use super::tensor::{Element, Tensor, contiguous, dims, over};

/// A grid in one dimension.
fn line(blocks: u32, threads: u32) -> Grid {
    Grid {
        blocks: (blocks, 1, 1),
        threads,
        shared: 0,
    }
}

/// The stride from one batch to the next of a `[batch, 1, channels]` that may have one batch for
/// all.
fn batch_stride(tensor: &Tensor) -> i64 {
    let [batch, _, channels] = dims(tensor);
    if batch == 1 { 0 } else { channels as i64 }
}

/// See [`crate::fused::modulated_layer_norm`].
pub(super) fn modulated_layer_norm(
    x: Tensor,
    shift: Tensor,
    scale: Tensor,
    epsilon: f64,
) -> Option<Tensor> {
    /// Tokens of a block.
    const ROWS: usize = 4;
    let element = Element::of(x.dtype)?;
    let engine = Engine::of(&x.device).ok()?;
    let [shift, scale] = [shift, scale].map(|tensor| contiguous(in_dtype(tensor, x.dtype)));
    let x = contiguous(x);
    let [batch, tokens, channels] = dims(&x);
    let y = engine.run(&x.client, |scope| {
        let y = scope.empty(batch * tokens * channels * element.size());
        if batch * tokens > 0 {
            let grid = Grid {
                blocks: (blocks(tokens, ROWS), batch as u32, 1),
                threads: 128,
                shared: 0,
            };
            scope.launch(
                &element.kernel("layer_norm_modulate"),
                grid,
                &[
                    Arg::Pointer(scope.pointer(&x.handle)),
                    Arg::Pointer(scope.pointer(&shift.handle)),
                    Arg::Pointer(scope.pointer(&scale.handle)),
                    Arg::Pointer(scope.pointer(&y)),
                    Arg::Int(channels as i32),
                    Arg::Int(tokens as i32),
                    Arg::Long(batch_stride(&shift)),
                    Arg::Long(batch_stride(&scale)),
                    Arg::Float(epsilon as f32),
                ],
            )?;
        }
        Ok(y)
    });
    Some(over(&x, y, [batch, tokens, channels].into(), x.dtype))
}

/// See [`crate::fused::rms_norm`].
pub(super) fn rms_norm(x: Tensor, weight: Tensor, epsilon: f64) -> Option<Tensor> {
    let element = Element::of(x.dtype)?;
    let engine = Engine::of(&x.device).ok()?;
    let weight = contiguous(in_dtype(weight, DType::F32));
    let x = contiguous(x);
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
                line(blocks(rows, at_once), THREADS),
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
    Some(over(&x, y, shape, x.dtype))
}

/// An element-wise kernel of one or two operands.
fn element_wise(name: &str, operands: Vec<Tensor>) -> Option<Tensor> {
    let like = operands.first()?.clone();
    let element = Element::of(like.dtype)?;
    let engine = Engine::of(&like.device).ok()?;
    let operands: Vec<Tensor> = operands
        .into_iter()
        .map(|operand| contiguous(in_dtype(operand, like.dtype)))
        .collect();
    let elements = like.meta.shape().num_elements();
    let y = engine.run(&like.client, |scope| {
        let y = scope.empty(elements * element.size());
        if elements > 0 {
            let operands = operands.iter();
            let mut args: Vec<Arg> = operands
                .map(|operand| Arg::Pointer(scope.pointer(&operand.handle)))
                .collect();
            args.push(Arg::Pointer(scope.pointer(&y)));
            args.push(Arg::Long(elements as i64));
            let grid = line(blocks(elements, 2048), THREADS);
            scope.launch(&element.kernel(name), grid, &args)?;
        }
        Ok(y)
    });
    Some(over(&like, y, like.meta.shape().clone(), like.dtype))
}

/// See [`crate::fused::gelu_tanh`].
pub(super) fn gelu_tanh(x: Tensor) -> Option<Tensor> {
    element_wise("gelu_tanh", vec![x])
}

/// See [`crate::fused::silu_mul`].
pub(super) fn silu_mul(gate: Tensor, up: Tensor) -> Option<Tensor> {
    element_wise("silu_mul", vec![gate, up])
}

/// See [`crate::fused::gated_add`].
pub(super) fn gated_add(residual: Tensor, x: Tensor, gate: Tensor) -> Option<Tensor> {
    let element = Element::of(residual.dtype)?;
    let engine = Engine::of(&residual.device).ok()?;
    let [x, gate] = [x, gate].map(|tensor| contiguous(in_dtype(tensor, residual.dtype)));
    let residual = contiguous(residual);
    let [batch, tokens, channels] = dims(&residual);
    let y = engine.run(&x.client, |scope| {
        let y = scope.empty(batch * tokens * channels * element.size());
        if batch * tokens > 0 {
            scope.launch(
                &element.kernel("gated_add"),
                line((batch * tokens) as u32, 128),
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
    Some(over(&x, y, [batch, tokens, channels].into(), x.dtype))
}

/// See [`crate::fused::channel_norm`].
pub(super) fn channel_norm(x: Tensor, gamma: Tensor, silu: bool) -> Option<Tensor> {
    let element = Element::of(x.dtype)?;
    let engine = Engine::of(&x.device).ok()?;
    let gamma = contiguous(in_dtype(gamma, DType::F32));
    let x = contiguous(x);
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
            let grid = Grid {
                blocks: (plane.div_ceil(at_once) as u32, batch as u32, 1),
                threads: THREADS,
                shared: 0,
            };
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
    Some(over(
        &x,
        y,
        [batch, channels, height, width].into(),
        x.dtype,
    ))
}
