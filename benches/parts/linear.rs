//! Linear layers on FP8, BF16 and F32 weights of the same shape.

use backends::{Activation, Arithmetic, Fp8Format, PackedFormat, PackedWeight, Weight};
use benches::{random, random_codes};
use burn::module::Param;
use burn::tensor::{FloatDType, Tensor};
use criterion::Criterion;

use crate::Flex;

/// Rows, inputs and outputs: an image's feed-forward, a projection, a modulation.
const SHAPES: [[usize; 3]; 3] = [[256, 3072, 12288], [1024, 3072, 3072], [1, 3072, 18432]];

pub(crate) fn bench(criterion: &mut Criterion) {
    let device = Default::default();
    let mut group = criterion.benchmark_group("linear");
    group.sample_size(20);
    for [rows, input, output] in SHAPES {
        let x = random::<Flex, 2>([rows, input], &device);
        let bias = Param::from_tensor(random::<Flex, 1>([output], &device));
        let dense = random::<Flex, 2>([output, input], &device);
        let fp8 = PackedWeight {
            bytes: Param::initialized(Default::default(), random_codes([output, input], &device)),
            scale: Param::from_tensor(Tensor::ones([1], &device)),
            format: PackedFormat::Fp8(Fp8Format::E4M3),
            arithmetic: Arithmetic::Exact,
        };
        let weights = [
            ("fp8", Weight::Packed(fp8)),
            (
                "bf16",
                Weight::Dense(Param::from_tensor(dense.clone().cast(FloatDType::BF16))),
            ),
            ("f32", Weight::Dense(Param::from_tensor(dense))),
        ];
        for (name, weight) in weights {
            group.bench_function(format!("{name}_{rows}x{input}x{output}"), |bencher| {
                bencher.iter(|| weight.linear(x.clone(), Some(&bias), None, Activation::None));
            });
        }
    }
    group.finish();
}
