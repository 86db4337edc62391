//! The operations that some backends run as one kernel.

use backends::fp8::{layer_norm, modulated_layer_norm};
use backends::fused::{
    self, attention, channel_norm, concatenate, conv_same, gated_add, gelu_tanh, joint_attention,
    joint_rms_norm_rotary, rms_norm_rotary, silu_mul,
};
use backends::kernels::{
    GatedUpdate, JointRmsNormRotary, LayerNorm, RmsNormRotary, Rotation, Sequence,
};
use backends::{ModelBackend, OnBackend};

use crate::{close, everywhere, on, random};

#[derive(Clone, Copy)]
struct Norms;

impl OnBackend for Norms {
    type Output = ();

    fn run<B: ModelBackend>(self, device: B::Device) {
        let [x, y] = [0; 2].map(|_| random([2, 37, 70]));
        let [shift, scale] = [0; 2].map(|_| random([2, 1, 70]));
        let weight = random([70]);
        let [dx, dy] = [&x, &y].map(|x| on::<B, 3>(&device, x));
        let [dshift, dscale] = [&shift, &scale].map(|x| on::<B, 3>(&device, x));
        close(
            "modulated_layer_norm",
            modulated_layer_norm(dx.clone(), dshift.clone(), dscale.clone(), 1e-6),
            modulated_layer_norm(x.clone(), shift.clone(), scale.clone(), 1e-6),
        );
        let dnormed = layer_norm(LayerNorm {
            x: dx.clone(),
            update: Some(GatedUpdate {
                gate: dshift.clone(),
                output: dy.clone(),
            }),
            shift: dshift,
            scale: dscale.clone(),
            epsilon: 1e-6,
            quantize: false,
        });
        let normed = layer_norm(LayerNorm {
            x: x.clone(),
            update: Some(GatedUpdate {
                gate: shift.clone(),
                output: y.clone(),
            }),
            shift,
            scale: scale.clone(),
            epsilon: 1e-6,
            quantize: false,
        });
        close("layer_norm, the sum", dnormed.sum, normed.sum);
        close("layer_norm", dnormed.y.float(), normed.y.float());
        close(
            "rms_norm",
            fused::rms_norm(dx.clone(), on(&device, &weight), 1e-6),
            fused::rms_norm(x.clone(), weight, 1e-6),
        );
        close(
            "gated_add",
            gated_add(dx.clone(), dy.clone(), dscale),
            gated_add(x.clone(), y.clone(), scale),
        );
        close(
            "gelu_tanh",
            gelu_tanh(dx.clone() * 4.0),
            gelu_tanh(x.clone() * 4.0),
        );
        close(
            "silu_mul",
            silu_mul(dx.clone(), dy.clone()),
            silu_mul(x.clone(), y.clone()),
        );
        close(
            "concatenate",
            concatenate(vec![dx, dy], 1),
            concatenate(vec![x, y], 1),
        );
        let image = random([2, 12, 33, 41]);
        let gamma = random([12]);
        for silu in [false, true] {
            close(
                "channel_norm",
                channel_norm(on::<B, 4>(&device, &image), on(&device, &gamma), silu),
                channel_norm(image.clone(), gamma.clone(), silu),
            );
        }
    }
}

#[test]
fn norms_and_activations_agree() {
    everywhere(Norms);
}

#[derive(Clone, Copy)]
struct Attention;

impl OnBackend for Attention {
    type Output = ();

    fn run<B: ModelBackend>(self, device: B::Device) {
        let x = random([2, 19, 3, 8]);
        let weight = random([8]);
        let angles = random([19, 4]);
        let [cos, sin] = [angles.clone().cos(), angles.sin()];
        for rotation in [Rotation::AdjacentPairs, Rotation::Halves] {
            let there = Sequence {
                x: on::<B, 4>(&device, &x),
                weight: on(&device, &weight),
                cos: on(&device, &cos),
                sin: on(&device, &sin),
            };
            let here = Sequence {
                x: x.clone(),
                weight: weight.clone(),
                cos: cos.clone(),
                sin: sin.clone(),
            };
            let epsilon = 1e-6;
            close(
                &format!("rms_norm_rotary {rotation:?}"),
                rms_norm_rotary(RmsNormRotary {
                    sequence: there,
                    rotation,
                    epsilon,
                }),
                rms_norm_rotary(RmsNormRotary {
                    sequence: here,
                    rotation,
                    epsilon,
                }),
            );
        }
        // One token, grouped heads with a causal mask, and more tokens than a tile has.
        for (tokens, heads, kv_heads, causal) in
            [(1, 2, 2, false), (33, 4, 2, true), (130, 2, 2, false)]
        {
            let q = random([1, tokens, heads, 16]);
            let [k, v] = [0; 2].map(|_| random([1, tokens, kv_heads, 16]));
            let [dq, dk, dv] = [&q, &k, &v].map(|x| on::<B, 4>(&device, x));
            close(
                &format!("attention of {tokens} tokens"),
                attention(dq, dk, dv, causal),
                attention(q, k, v, causal),
            );
        }
    }
}

#[test]
fn rotations_and_attention_agree() {
    everywhere(Attention);
}

#[derive(Clone, Copy)]
struct Joint;

impl OnBackend for Joint {
    type Output = ();

    fn run<B: ModelBackend>(self, device: B::Device) {
        let lengths = [3, 5];
        let sequence = |batch, tokens| {
            let angles = random([tokens, 4]);
            Sequence {
                x: random([batch, tokens, 2, 8]),
                weight: random([8]),
                cos: angles.clone().cos(),
                sin: angles.sin(),
            }
        };
        let there = |sequence: &Sequence<_>| Sequence {
            x: on::<B, 4>(&device, &sequence.x),
            weight: on(&device, &sequence.weight),
            cos: on(&device, &sequence.cos),
            sin: on(&device, &sequence.sin),
        };
        let (first, second) = (sequence(1, 8), sequence(2, 6));
        let (rotation, epsilon) = (Rotation::AdjacentPairs, 1e-6);
        let (dfirst, dsecond) = (there(&first), there(&second));
        let v = [first.x.clone(), second.x.clone()];
        let dv = [dfirst.x.clone(), dsecond.x.clone()];
        let ours = joint_rms_norm_rotary(JointRmsNormRotary {
            first: dfirst,
            second: dsecond,
            lengths: &lengths,
            rotation,
            epsilon,
        });
        let theirs = joint_rms_norm_rotary(JointRmsNormRotary {
            first,
            second,
            lengths: &lengths,
            rotation,
            epsilon,
        });
        for (ours, theirs) in ours.iter().zip(&theirs) {
            close("joint_rms_norm_rotary", ours.clone(), theirs.clone());
        }
        let ours = joint_attention(ours.clone(), ours, dv, &lengths);
        let theirs = joint_attention(theirs.clone(), theirs, v, &lengths);
        for (ours, theirs) in ours.into_iter().zip(theirs) {
            close("joint_attention", ours, theirs);
        }
    }
}

#[test]
fn joint_sequences_agree() {
    everywhere(Joint);
}

#[derive(Clone, Copy)]
struct Convolution;

impl OnBackend for Convolution {
    type Output = ();

    fn run<B: ModelBackend>(self, device: B::Device) {
        for (channels, out, kernel, [height, width]) in
            [(3, 8, 3, [17, 23]), (16, 5, 1, [8, 8]), (8, 8, 3, [16, 16])]
        {
            let x = random([1, channels, height, width]);
            let weight = random([out, channels, kernel, kernel]);
            let bias = random([out]);
            let [dx, dweight] = [&x, &weight].map(|x| on::<B, 4>(&device, x));
            close(
                &format!("{kernel}x{kernel}, {channels} to {out} channels"),
                conv_same(dx, dweight, on(&device, &bias)),
                conv_same(x, weight, bias),
            );
        }
    }
}

#[test]
fn convolutions_agree() {
    everywhere(Convolution);
}
