//! Attention whose results may be quantized for the layers that take them.

use crate::fused::{joint_attention, joint_rms_norm_rotary};
use crate::kernels::{Activations, JointRmsNormRotary, Kernels, NormedJointAttention};

use super::Arithmetic;

/// Computes [`NormedJointAttention`]: norm and rotary embedding of queries and of keys, then
/// attention within each joint sequence. Returns `[rows, channels]` of the tokens of the first and
/// of the second tensor.
///
/// * `arithmetic`: [`Arithmetic::Fp8`] computes on eight bits where the device gains something by
///   that (see [`Kernels::quantized_joint_attention`]).
pub fn normed_joint_attention<B: Kernels>(
    call: NormedJointAttention<'_, B>,
    arithmetic: Arithmetic,
) -> [Activations<B>; 2] {
    match arithmetic {
        Arithmetic::Exact => exact(call),
        Arithmetic::Fp8 => B::quantized_joint_attention(call).unwrap_or_else(exact),
    }
}

/// Quantizes nothing but the results.
fn exact<B: Kernels>(call: NormedJointAttention<'_, B>) -> [Activations<B>; 2] {
    let NormedJointAttention {
        q,
        k,
        v,
        lengths,
        rotation,
        epsilon,
        quantize_results,
    } = call;
    let [q, k] = [q, k].map(|[first, second]| {
        joint_rms_norm_rotary(JointRmsNormRotary {
            first,
            second,
            lengths,
            rotation,
            epsilon,
        })
    });
    joint_attention(q, k, v, lengths).map(|x| {
        let rows = Activations::Float(x.flatten::<3>(2, 3).flatten::<2>(0, 1));
        rows.quantized_if(quantize_results)
    })
}

#[cfg(all(test, feature = "flex"))]
mod tests {
    use burn::tensor::{Tensor, TensorPrimitive};
    use burn_flex::Flex;

    use super::*;
    use crate::fp8::quantize::quantize_rows;
    use crate::kernels::{Rotation, Sequence};
    use crate::test_random::random;

    fn sequence(batch: usize, tokens: usize) -> Sequence<Flex> {
        let angles = random([tokens, 4]);
        Sequence {
            x: random([batch, tokens, 2, 8]),
            weight: random([8]),
            cos: angles.clone().cos(),
            sin: angles.sin(),
        }
    }

    fn assert_close(found: Tensor<Flex, 2>, expected: Tensor<Flex, 2>) {
        assert_eq!(found.dims(), expected.dims());
        assert!(
            expected.clone().abs().max().into_scalar() > 0.1,
            "all but zero"
        );
        let distance = (found - expected).abs().max().into_scalar();
        assert!(distance <= 1e-6, "{distance}");
    }

    #[test]
    fn joint_attention_is_exact_where_quantizing_gains_nothing() {
        let lengths = [2, 3];
        let [q, k] = [(); 2].map(|()| [sequence(1, 5), sequence(2, 4)]);
        let v = [random([1, 5, 2, 8]), random([2, 4, 2, 8])];
        let (rotation, epsilon) = (Rotation::AdjacentPairs, 1e-6);
        let attended = |quantize_results| {
            let (q, k, v) = (q.clone(), k.clone(), v.clone());
            let call = NormedJointAttention {
                q,
                k,
                v,
                lengths: &lengths,
                rotation,
                epsilon,
                quantize_results,
            };
            normed_joint_attention(call, Arithmetic::Fp8)
        };
        let (kept, quantized) = (attended(false), attended(true));
        let [q, k] = [q.clone(), k.clone()].map(|[first, second]| {
            joint_rms_norm_rotary(JointRmsNormRotary {
                first,
                second,
                lengths: &lengths,
                rotation,
                epsilon,
            })
        });
        let exact = joint_attention(q, k, v.clone(), &lengths);
        for ((kept, quantized), exact) in kept.into_iter().zip(quantized).zip(exact) {
            let exact = exact.flatten::<3>(2, 3).flatten::<2>(0, 1);
            let (Activations::Float(kept), Activations::Quantized(quantized)) = (kept, quantized)
            else {
                panic!("results are not of the form that was asked for");
            };
            assert_close(kept, exact.clone());
            let [found, expected] = [quantized, quantize_rows(exact)]
                .map(|rows| Tensor::from_primitive(TensorPrimitive::Float(rows.values)));
            assert_close(found, expected);
        }
    }
}
