//! One transformer block at its real width, with one prompt and with the two of guidance.

use backends::{Fp8Format, PackedFormat, WeightFormat};
use benches::{random, randomize};
use criterion::Criterion;
use model::latents::TokenGrid;
use model::transformer::{
    BlockModulation, JointLayout, JointRotary, Residual, RopeCentring, Streams, TransformerBlock,
};
use model::{Builder, TransformerConfig};

use crate::Flex;

const TEXT_TOKENS: usize = 64;

/// Sides of the image in tokens: 256 and 512 pixels.
const SIDES: [usize; 2] = [16, 32];

pub(crate) fn bench(criterion: &mut Criterion) {
    let device = Default::default();
    let config = TransformerConfig {
        num_layers: 1,
        ..TransformerConfig::published()
    };
    let formats = |_: &str| WeightFormat::Packed(PackedFormat::Fp8(Fp8Format::E4M3));
    let root = Builder::new(&device, &formats);
    let block = randomize::<Flex, _>(TransformerBlock::uninitialized(&config, &root));
    let layers = randomize::<Flex, _>(BlockModulation::uninitialized(&config, &root));
    let channels = config.inner_dim();
    let temb = random::<Flex, 3>([1, 1, channels], &device);

    let mut group = criterion.benchmark_group("transformer_block");
    group.sample_size(10);
    for side in SIDES {
        let grid = TokenGrid {
            height: side,
            width: side,
        };
        for (branches, name) in [(1, ""), (2, "_guided")] {
            let layout = JointLayout {
                text_lengths: vec![TEXT_TOKENS; branches],
            };
            let stream = |shape| Residual::new(random::<Flex, 3>(shape, &device));
            let streams = Streams {
                image: stream([branches, grid.tokens(), channels]),
                text: stream([1, branches * TEXT_TOKENS, channels]),
            };
            let axes = config.axes_dims_rope;
            let rotary = JointRotary::new(grid, &layout, axes, RopeCentring::Diffusers, &device);
            group.bench_function(format!("{}{name}", grid.tokens()), |bencher| {
                bencher.iter(|| {
                    let modulation = layers.forward(temb.clone());
                    let streams = block.forward(streams.clone(), modulation, &layout, &rotary);
                    [streams.image, streams.text].map(Residual::into_tensor)
                });
            });
        }
    }
    group.finish();
}
