//! Layer norms whose results may be quantized for the layers that read them.

use burn::tensor::Tensor;

use crate::fused::{gated_add, portable};
use crate::kernels::{Activations, GatedUpdate, Kernels, LayerNorm, Normed};

/// Computes [`LayerNorm`]: the sum and its normalised tokens.
pub fn layer_norm<B: Kernels>(call: LayerNorm<B>) -> Normed<B> {
    <B as Kernels>::layer_norm(call).unwrap_or_else(in_steps)
}

/// Computes in several steps what a backend has no single kernel for.
fn in_steps<B: Kernels>(call: LayerNorm<B>) -> Normed<B> {
    if call.quantize {
        let Normed { sum, y } = layer_norm(LayerNorm {
            quantize: false,
            ..call
        });
        let y = y.quantized_if(true);
        return Normed { sum, y };
    }
    match call.update {
        None => Normed {
            sum: call.x.clone(),
            y: Activations::of(portable::layer_norm(call)),
        },
        Some(GatedUpdate { gate, output }) => {
            let sum = gated_add(call.x, output, gate);
            layer_norm(LayerNorm {
                x: sum,
                update: None,
                ..call
            })
        }
    }
}

/// Computes `layer_norm(x) * (1 + scale) + shift`.
///
/// * `x`: float `[batch, tokens, channels]`.
/// * `shift`, `scale`: float `[batch, 1, channels]`.
pub fn modulated_layer_norm<B: Kernels>(
    x: Tensor<B, 3>,
    shift: Tensor<B, 3>,
    scale: Tensor<B, 3>,
    epsilon: f64,
) -> Tensor<B, 3> {
    let shape = x.dims();
    let normed = layer_norm(LayerNorm {
        x,
        update: None,
        shift,
        scale,
        epsilon,
        quantize: false,
    });
    normed.y.float().reshape(shape)
}
