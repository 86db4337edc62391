//! Burn's CUDA backend with our kernels: each operation, or its portable body where a kernel does
//! not know the shape or the dtype.

use burn::tensor::FloatDType;
use burn::tensor::ops::{FloatTensor, IntTensor};
use burn_cuda::Cuda;

use super::attention_quantized::Attention;
use super::concatenate::concatenate;
use super::layer_norm::norm;
use super::linear::{Stored, linear};
use super::rounded::{self, linear_rounded};
use super::streams::streams;
use super::{attention, conv, fused, rotate, round};
use crate::fp8::{
    self, Activations, Epilogue, Fp8Codes, Fp8Format, Fp8Ops, NormCall, Output, RoundedRows,
    StreamCall, StreamResult, Update, rounding,
};
use crate::fused::{FusedOps, Rotation, Turned, portable};

impl Fp8Ops for Cuda {
    fn multiplies_fp8(device: &Self::Device, dtype: FloatDType) -> bool {
        rounded::is_possible(device, dtype)
    }

    fn fp8_linear(
        x: FloatTensor<Self>,
        weight: IntTensor<Self>,
        scale: FloatTensor<Self>,
        format: Fp8Format,
        epilogue: Epilogue<Self>,
    ) -> FloatTensor<Self> {
        if fp8::by_row::is_by_row::<Self>(&scale) {
            return fp8::by_row::fp8_linear_by_row::<Self>(x, weight, scale, format, epilogue);
        }
        let codes = Fp8Codes {
            codes: weight.clone(),
            scale: scale.clone(),
            format,
        };
        linear(x.clone(), codes.into(), epilogue.clone()).unwrap_or_else(|| {
            fp8::portable::fp8_linear::<Self>(x, weight, scale, format, epilogue)
        })
    }

    fn round_rows(x: FloatTensor<Self>) -> RoundedRows<Self> {
        round::round_rows(x.clone()).unwrap_or_else(|| rounding::round_rows::<Self>(x))
    }

    fn fp8_linear_rounded(
        x: RoundedRows<Self>,
        weight: IntTensor<Self>,
        scale: FloatTensor<Self>,
        format: Fp8Format,
        epilogue: Epilogue<Self>,
    ) -> FloatTensor<Self> {
        if fp8::by_row::is_by_row::<Self>(&scale) {
            let call = fp8::by_row::fp8_linear_rounded_by_row::<Self>;
            return call(x, weight, scale, format, epilogue);
        }
        let codes = Fp8Codes {
            codes: weight.clone(),
            scale: scale.clone(),
            format,
        };
        linear_rounded(x.clone(), codes, epilogue.clone()).unwrap_or_else(|| {
            let x = round::decoded(x);
            rounding::fp8_linear_rounded::<Self>(x, weight, scale, format, epilogue)
        })
    }

    fn joint_attention_rounded(
        q: [Turned<Self>; 2],
        k: [Turned<Self>; 2],
        v: [FloatTensor<Self>; 2],
        lengths: &[usize],
        rotation: (Rotation, f64),
        rounded: bool,
    ) -> [Activations<Self>; 2] {
        match Attention::new([&q, &k], &v, lengths, rotation, rounded) {
            Some(attention) => attention.run(),
            None => rounding::joint_attention::<Self>(q, k, v, lengths, rotation, rounded),
        }
    }

    fn streams<const N: usize>(calls: [StreamCall<Self, N>; 2]) -> [StreamResult<Self, N>; 2] {
        streams(calls)
    }

    fn dense_linear(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        epilogue: Epilogue<Self>,
    ) -> FloatTensor<Self> {
        linear(x.clone(), Stored::Dense(weight.clone()), epilogue.clone())
            .unwrap_or_else(|| fp8::portable::dense_linear::<Self>(x, weight, epilogue))
    }
}

fn norm_call(
    x: &FloatTensor<Cuda>,
    update: Option<[&FloatTensor<Cuda>; 2]>,
    [shift, scale]: [&FloatTensor<Cuda>; 2],
    epsilon: f64,
) -> NormCall<Cuda> {
    NormCall {
        x: x.clone(),
        update: update.map(|[output, gate]| Update {
            gate: gate.clone(),
            output: Output::Known(output.clone()),
        }),
        shift: shift.clone(),
        scale: scale.clone(),
        epsilon,
    }
}

impl FusedOps for Cuda {
    fn modulated_layer_norm(
        x: FloatTensor<Self>,
        shift: FloatTensor<Self>,
        scale: FloatTensor<Self>,
        epsilon: f64,
    ) -> FloatTensor<Self> {
        match norm(norm_call(&x, None, [&shift, &scale], epsilon)) {
            Some([_, y]) => y,
            None => portable::modulated_layer_norm::<Self>(x, shift, scale, epsilon),
        }
    }

    fn gated_add_layer_norm(
        residual: FloatTensor<Self>,
        x: FloatTensor<Self>,
        gate: FloatTensor<Self>,
        shift: FloatTensor<Self>,
        scale: FloatTensor<Self>,
        epsilon: f64,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        let update = Some([&x, &gate]);
        match norm(norm_call(&residual, update, [&shift, &scale], epsilon)) {
            Some([sum, y]) => (sum, y),
            None => {
                portable::gated_add_layer_norm::<Self>(residual, x, gate, shift, scale, epsilon)
            }
        }
    }

    fn rms_norm(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        epsilon: f64,
    ) -> FloatTensor<Self> {
        fused::rms_norm(x.clone(), weight.clone(), epsilon)
            .unwrap_or_else(|| portable::rms_norm::<Self>(x, weight, epsilon))
    }

    fn rotate(
        x: FloatTensor<Self>,
        cos: FloatTensor<Self>,
        sin: FloatTensor<Self>,
        rotation: Rotation,
    ) -> FloatTensor<Self> {
        let table = (cos.clone(), sin.clone());
        rotate::rms_norm_rotate(x.clone(), None, table, rotation, 0.0)
            .unwrap_or_else(|| portable::rotate::<Self>(x, cos, sin, rotation))
    }

    fn rms_norm_rotate(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        cos: FloatTensor<Self>,
        sin: FloatTensor<Self>,
        rotation: Rotation,
        epsilon: f64,
    ) -> FloatTensor<Self> {
        let table = (cos.clone(), sin.clone());
        rotate::rms_norm_rotate(x.clone(), Some(weight.clone()), table, rotation, epsilon)
            .unwrap_or_else(|| {
                let normed = portable::rms_norm::<Self>(x, weight, epsilon);
                portable::rotate::<Self>(normed, cos, sin, rotation)
            })
    }

    fn rms_norm_rotate_joined(
        first: Turned<Self>,
        second: Turned<Self>,
        lengths: &[usize],
        rotation: Rotation,
        epsilon: f64,
    ) -> Vec<FloatTensor<Self>> {
        let (a, b) = (first.clone(), second.clone());
        rotate::rms_norm_rotate_joined(a, b, lengths, rotation, epsilon).unwrap_or_else(|| {
            portable::rms_norm_rotate_joined::<Self>(first, second, lengths, rotation, epsilon)
        })
    }

    fn gelu_tanh(x: FloatTensor<Self>) -> FloatTensor<Self> {
        fused::gelu_tanh(x.clone()).unwrap_or_else(|| portable::gelu_tanh::<Self>(x))
    }

    fn silu_mul(gate: FloatTensor<Self>, up: FloatTensor<Self>) -> FloatTensor<Self> {
        fused::silu_mul(gate.clone(), up.clone())
            .unwrap_or_else(|| portable::silu_mul::<Self>(gate, up))
    }

    fn gated_add(
        residual: FloatTensor<Self>,
        x: FloatTensor<Self>,
        gate: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        fused::gated_add(residual.clone(), x.clone(), gate.clone())
            .unwrap_or_else(|| portable::gated_add::<Self>(residual, x, gate))
    }

    fn channel_norm(
        x: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        silu: bool,
    ) -> FloatTensor<Self> {
        fused::channel_norm(x.clone(), gamma.clone(), silu)
            .unwrap_or_else(|| portable::channel_norm::<Self>(x, gamma, silu))
    }

    fn scaled_attention(
        q: FloatTensor<Self>,
        k: FloatTensor<Self>,
        v: FloatTensor<Self>,
        causal: bool,
    ) -> FloatTensor<Self> {
        attention::attention(q.clone(), k.clone(), v.clone(), causal)
            .unwrap_or_else(|| portable::scaled_attention::<Self>(q, k, v, causal))
    }

    fn joint_attention(
        q: Vec<FloatTensor<Self>>,
        k: Vec<FloatTensor<Self>>,
        v: [FloatTensor<Self>; 2],
        lengths: &[usize],
    ) -> [FloatTensor<Self>; 2] {
        attention::joint_attention(q.clone(), k.clone(), v.clone(), lengths)
            .unwrap_or_else(|| portable::joint_attention::<Self>(q, k, v, lengths))
    }

    fn concatenate(parts: Vec<FloatTensor<Self>>, dim: usize) -> FloatTensor<Self> {
        use burn::tensor::ops::FloatTensorOps;
        concatenate(&parts, dim).unwrap_or_else(|| Self::float_cat(parts, dim))
    }

    fn conv_same(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        conv::conv_same(x.clone(), weight.clone(), bias.clone())
            .unwrap_or_else(|| portable::conv_same::<Self>(x, weight, bias))
    }
}
