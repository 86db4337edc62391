//! The processor's own kernels against the portable bodies on the same processor.

use burn::tensor::FloatDType;
use burn_flex::Flex;

use super::*;
use crate::fp8::{layer_norm, modulated_layer_norm};
use crate::kernels::{GatedUpdate, LayerNorm, Sequence};
use crate::test_random::random;

fn close<const D: usize>(
    what: &str,
    fast: Tensor<Flex, D>,
    portable: Tensor<Flex, D>,
    tolerance: f64,
) {
    assert_eq!(fast.dims(), portable.dims(), "{what}");
    let fast: Vec<f32> = fast.into_data().iter().collect();
    let portable: Vec<f32> = portable.into_data().iter().collect();
    assert!(fast.iter().any(|v| v.abs() > 0.1), "{what}: all but zero");
    for (i, (f, p)) in fast.iter().zip(&portable).enumerate() {
        let distance = f64::from((f - p).abs());
        assert!(distance <= tolerance, "{what}[{i}]: {f} against {p}");
    }
}

#[test]
fn norms_agree() {
    let x = random([2, 37, 70]);
    let (shift, scale) = (random([2, 1, 70]), random([2, 1, 70]));
    close(
        "modulated_layer_norm",
        modulated_layer_norm(x.clone(), shift.clone(), scale.clone(), 1e-6),
        portable::layer_norm(LayerNorm {
            x: x.clone(),
            update: None,
            shift,
            scale,
            epsilon: 1e-6,
            quantize: false,
        }),
        1e-4,
    );
    let weight = random([70]);
    close(
        "rms_norm",
        rms_norm(x.clone(), weight.clone(), 1e-6),
        portable::rms_norm(RmsNorm {
            x: x.clone(),
            weight,
            epsilon: 1e-6,
        }),
        1e-5,
    );
    let gate = random([2, 1, 70]);
    let y = random([2, 37, 70]);
    close(
        "gated_add",
        gated_add(x.clone(), y.clone(), gate.clone()),
        portable::gated_add(GatedAdd {
            residual: x,
            x: y,
            gate,
        }),
        1e-5,
    );
    let image = random([2, 12, 33, 41]);
    let gamma = random([12]);
    for silu in [false, true] {
        close(
            "channel_norm",
            channel_norm(image.clone(), gamma.clone(), silu),
            portable::channel_norm(ChannelNorm {
                x: image.clone(),
                gamma: gamma.clone(),
                silu,
            }),
            1e-5,
        );
    }
}

#[test]
fn activations_agree() {
    // Longer than one thread's chunk, and not a multiple of it.
    let x = random([3, 23_456]) * 4.0;
    let y = random([3, 23_456]);
    close(
        "gelu_tanh",
        gelu_tanh(x.clone()),
        portable::gelu_tanh(GeluTanh { x: x.clone() }),
        1e-5,
    );
    close(
        "silu_mul",
        silu_mul(x.clone(), y.clone()),
        portable::silu_mul(SiluMul { gate: x, up: y }),
        1e-5,
    );
}

fn portable_rotary(
    x: &Tensor<Flex, 4>,
    cos: &Tensor<Flex, 2>,
    sin: &Tensor<Flex, 2>,
    rotation: Rotation,
) -> Tensor<Flex, 4> {
    let (x, cos, sin) = (x.clone(), cos.clone(), sin.clone());
    portable::rotary_embedding(RotaryEmbedding {
        x,
        cos,
        sin,
        rotation,
    })
}

#[test]
fn rotations_agree_and_keep_lengths() {
    let x = random([2, 19, 3, 8]);
    let angles = random([19, 4]);
    let (cos, sin) = (angles.clone().cos(), angles.sin());
    for rotation in [Rotation::AdjacentPairs, Rotation::Halves] {
        let fast = rotary_embedding(x.clone(), cos.clone(), sin.clone(), rotation);
        let length = |x: Tensor<Flex, 4>| x.square().sum().into_scalar();
        let ratio = length(fast.clone()) / length(x.clone());
        assert!((ratio - 1.0).abs() < 1e-5, "{rotation:?} changes lengths");
        close(
            "rotary_embedding",
            fast,
            portable_rotary(&x, &cos, &sin, rotation),
            1e-5,
        );
    }
}

#[test]
fn a_norm_and_a_rotation_in_one_pass_agree_with_two() {
    let x = random([2, 19, 3, 8]) * 3.0;
    let weight = random([8]);
    let angles = random([19, 4]);
    let (cos, sin) = (angles.clone().cos(), angles.sin());
    for rotation in [Rotation::AdjacentPairs, Rotation::Halves] {
        let normed = portable::rms_norm(RmsNorm {
            x: x.clone(),
            weight: weight.clone(),
            epsilon: 1e-6,
        });
        let sequence = Sequence {
            x: x.clone(),
            weight: weight.clone(),
            cos: cos.clone(),
            sin: sin.clone(),
        };
        close(
            "rms_norm_rotary",
            rms_norm_rotary(RmsNormRotary {
                sequence,
                rotation,
                epsilon: 1e-6,
            }),
            portable_rotary(&normed, &cos, &sin, rotation),
            1e-5,
        );
    }
}

#[test]
fn attention_agrees_at_all_block_edges() {
    for (tokens, heads, kv_heads, causal) in [
        (1, 2, 2, false),
        (65, 4, 2, true),
        (300, 2, 1, true),
        (513, 2, 2, false),
    ] {
        let q = random([2, tokens, heads, 16]);
        let k = random([2, tokens, kv_heads, 16]);
        let v = random([2, tokens, kv_heads, 16]);
        close(
            &format!("attention over {tokens} tokens"),
            attention(q.clone(), k.clone(), v.clone(), causal),
            portable::attention(Attention { q, k, v, causal }),
            1e-5,
        );
    }
}

#[test]
fn joint_attention_is_that_of_each_joint_sequence() {
    // Two and three tokens of the first sequence, four of each batch of the second.
    let lengths = [2, 3];
    let [q, k] = [(), ()].map(|()| lengths.map(|length| random([1, length + 4, 2, 8])).to_vec());
    let (first, second) = (random([1, 5, 2, 8]), random([2, 4, 2, 8]));
    let v = [first.clone(), second.clone()];
    let [a, b] = joint_attention(q.clone(), k.clone(), v, &lengths);
    assert_eq!((a.dims(), b.dims()), (first.dims(), second.dims()));
    let mut start = 0;
    for (batch, length) in lengths.into_iter().enumerate() {
        let of_first = |x: &Tensor<Flex, 4>| x.clone().narrow(1, start, length);
        let of_second = |x: &Tensor<Flex, 4>| x.clone().narrow(0, batch, 1);
        let v = Tensor::cat(vec![of_first(&first), of_second(&second)], 1);
        let all = attention(q[batch].clone(), k[batch].clone(), v, false);
        let found = Tensor::cat(vec![of_first(&a), of_second(&b)], 1);
        close("joint attention", found, all, 1e-6);
        start += length;
    }
}

fn sequence(batch: usize, tokens: usize) -> Sequence<Flex> {
    let angles = random([tokens, 4]);
    Sequence {
        x: random([batch, tokens, 2, 8]),
        weight: random([8]),
        cos: angles.clone().cos(),
        sin: angles.sin(),
    }
}

#[test]
fn joined_sequences_are_the_first_one_s_tokens_and_then_a_batch_of_the_second() {
    let lengths = [2, 1, 3];
    let (first, second) = (sequence(1, 6), sequence(3, 4));
    let (rotation, epsilon) = (Rotation::AdjacentPairs, 1e-6);
    let alone = |sequence: &Sequence<Flex>| {
        let sequence = sequence.clone();
        rms_norm_rotary(RmsNormRotary {
            sequence,
            rotation,
            epsilon,
        })
    };
    let (a, b) = (alone(&first), alone(&second));
    let joined = joint_rms_norm_rotary(JointRmsNormRotary {
        first,
        second,
        lengths: &lengths,
        rotation,
        epsilon,
    });
    let mut start = 0;
    for (batch, (joined, length)) in joined.into_iter().zip(lengths).enumerate() {
        let parts = vec![
            a.clone().narrow(1, start, length),
            b.clone().narrow(0, batch, 1),
        ];
        close("a joined sequence", joined, Tensor::cat(parts, 1), 1e-6);
        start += length;
    }
}

#[test]
fn a_gated_sum_is_normalised_as_it_is_stored() {
    // Numbers that bf16 rounds far enough for the norm to tell.
    let tensors = [(); 2].map(|()| random([2, 37, 70]).cast(FloatDType::BF16));
    let [residual, x] = tensors;
    let modulation = [(); 3].map(|()| random([2, 1, 70]).cast(FloatDType::BF16));
    let [gate, shift, scale] = modulation;
    let normed = layer_norm(LayerNorm {
        x: residual.clone(),
        update: Some(GatedUpdate {
            gate: gate.clone(),
            output: x.clone(),
        }),
        shift: shift.clone(),
        scale: scale.clone(),
        epsilon: 1e-6,
        quantize: false,
    });
    let sum = normed.sum;
    let expected = portable::gated_add(GatedAdd { residual, x, gate });
    close("the sum", sum.clone(), expected, 0.0);
    // By the same norm: another one may round a tie the other way.
    let expected = modulated_layer_norm(sum, shift, scale, 1e-6);
    close("its norm", normed.y.float(), expected.flatten(0, 1), 0.0);
}

#[test]
fn convolutions_agree() {
    // One pixel, one row, one column, several blocks of rows, one channel, kernels of 1 and 3.
    for ([input, output], [height, width], side) in [
        ([3, 5], [1, 1], 3),
        ([7, 4], [1, 40], 3),
        ([2, 9], [33, 1], 3),
        ([16, 24], [70, 61], 3),
        ([16, 24], [70, 61], 1),
        ([1, 1], [64, 64], 3),
    ] {
        let x = random([2, input, height, width]);
        let weight = random([output, input, side, side]);
        let bias = random([output]);
        close(
            &format!("{side}x{side} on {height}x{width}, {input} to {output}"),
            conv_same(x.clone(), weight.clone(), bias.clone()),
            portable::conv_same(ConvSame { x, weight, bias }),
            1e-4,
        );
    }
}

#[test]
fn a_view_is_read_as_what_it_shows() {
    let x = random([2, 37, 70]).narrow(2, 3, 20);
    let weight = random([20]);
    close(
        "rms_norm of a view",
        rms_norm(x.clone(), weight.clone(), 1e-6),
        portable::rms_norm(RmsNorm {
            x,
            weight,
            epsilon: 1e-6,
        }),
        1e-5,
    );
}
