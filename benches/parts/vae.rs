//! The VAE's decoder at its real width.

use backends::WeightFormat;
use benches::{random, randomize};
use criterion::Criterion;
use model::vae::Tiling;
use model::{Builder, VaeConfig, VaeDecoder};

use crate::Flex;

/// Side of the image in pixels.
const SIDE: usize = 256;

pub(crate) fn bench(criterion: &mut Criterion) {
    let device = Default::default();
    let config = VaeConfig::published();
    let formats = |_: &str| WeightFormat::Dense;
    let vae = VaeDecoder::<Flex>::uninitialized(&config, &Builder::new(&device, &formats));
    let vae = randomize::<Flex, _>(vae);
    let side = SIDE / model::vae::SCALE;
    let latents = random::<Flex, 4>([1, config.z_dim, side, side], &device);

    let mut group = criterion.benchmark_group("vae_decoder");
    group.sample_size(10);
    group.bench_function(SIDE.to_string(), |bencher| {
        bencher.iter(|| vae.decode(latents.clone(), Tiling::Whole, &|| false));
    });
    group.finish();
}
