//! One layer of the text encoder at its real width.

use backends::{Fp8Format, PackedFormat, WeightFormat};
use benches::{random, randomize};
use criterion::Criterion;
use model::rotary::{RotaryTable, inverse_frequencies};
use model::text_encoder::DecoderLayer;
use model::{Builder, TextEncoderConfig};

use crate::Flex;

pub(crate) fn bench(criterion: &mut Criterion) {
    let device = Default::default();
    let config = TextEncoderConfig {
        num_hidden_layers: 1,
        ..TextEncoderConfig::published()
    };
    let formats = |_: &str| WeightFormat::Packed(PackedFormat::Fp8(Fp8Format::E4M3));
    let layer = DecoderLayer::<Flex>::uninitialized(&config, &Builder::new(&device, &formats));
    let layer = randomize::<Flex, _>(layer);

    let mut group = criterion.benchmark_group("text_encoder_layer");
    group.sample_size(10);
    for tokens in [64, 512] {
        let x = random::<Flex, 3>([1, tokens, config.hidden_size], &device);
        let frequencies = inverse_frequencies(config.head_dim, config.rope_theta);
        let rotary = RotaryTable::of_sequence(tokens, &frequencies, &device);
        group.bench_function(tokens.to_string(), |bencher| {
            bencher.iter(|| layer.forward(x.clone(), &rotary));
        });
    }
    group.finish();
}
