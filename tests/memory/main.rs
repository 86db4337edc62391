//! The formulas for working memory against measured peaks, at the real models' widths.

mod counting;

use std::num::NonZeroUsize;

use backends::{Arithmetic, Fp8Format, Numerics, PackedFormat, RunningKernels, WeightFormat};
use benches::{random, randomize};
use burn::tensor::{FloatDType, Tensor};
use counting::Counting;
use model::guidance::{Guidance, GuidanceRule};
use model::latents::{TokenGrid, pack};
use model::memory::{self, DenoisingSizes};
use model::pipeline::{
    Denoising, Observer, PipelineError, decode, denoise, encode_image, encode_prompt, modulations,
};
use model::scheduler::Schedule;
use model::tokenizer::PromptTokens;
use model::vae::Tiling;
use model::{
    Builder, Resident, SchedulerConfig, TextEncoder, TextEncoderConfig, Transformer,
    TransformerConfig, VaeConfig, VaeDecoder, VaeEncoder,
};

type Flex = burn_flex::Flex;

#[global_allocator]
static MEMORY: Counting = Counting::new();

/// Threads of the processor: their scratch is part of what is measured.
const THREADS: NonZeroUsize = NonZeroUsize::MIN.saturating_add(1);

/// How far above a measured peak its formula may lie, but for what threads keep.
const SLACK: f64 = 1.5;

/// The bytes that the formulas count for what threads keep between products: as much as the largest
/// second-level cache, of which a processor may have less, and keeps so much less.
const KEPT: u64 = THREADS.get() as u64 * (2 << 20);

fn fp8(_: &str) -> WeightFormat {
    WeightFormat::Packed(PackedFormat::Fp8(Fp8Format::E4M3))
}

fn numerics(dtype: FloatDType) -> Numerics {
    Numerics {
        dtype,
        kernels: RunningKernels::Processor { threads: THREADS },
        arithmetic: Arithmetic::Exact,
    }
}

/// Tells whether the formula bounds the peak, and not by far.
fn holds(what: &str, measured: u64, formula: u64) -> bool {
    const MIB: f64 = (1 << 20) as f64;
    let (peak, bound) = (measured as f64, formula as f64);
    let ratio = bound / peak;
    println!(
        "{what}: {:.1} MiB measured, {:.1} MiB by the formula, ratio {ratio:.2}",
        peak / MIB,
        bound / MIB
    );
    formula >= measured && formula.saturating_sub(KEPT) as f64 <= SLACK * peak
}

/// One test, since only one thing can be measured at a time.
#[test]
fn formulas_bound_measured_peaks() {
    rayon::ThreadPoolBuilder::new()
        .num_threads(THREADS.get())
        .build_global()
        .expect("the first use of the pool");
    // All are measured before any fails.
    let hold = [
        the_vae(),
        the_vae_encoder(),
        the_transformer(),
        the_text_encoder(),
    ];
    assert_eq!(
        hold, [true; 4],
        "VAE decoder and encoder, transformer, text encoder"
    );
}

fn the_vae() -> bool {
    let mut hold = true;
    let device = Default::default();
    let config = VaeConfig::published();
    let formats = |_: &str| WeightFormat::Dense;
    let vae = VaeDecoder::<Flex>::uninitialized(&config, &Builder::new(&device, &formats));
    let vae = randomize::<Flex, _>(vae);
    let tiles = |side| Tiling::Tiles { side };
    for (width, height, tilings) in [
        (128, 128, vec![Tiling::Whole, tiles(64)]),
        (256, 192, vec![Tiling::Whole, tiles(96)]),
    ] {
        let grid = TokenGrid::of_image(width, height);
        let latents = random::<Flex, 4>(grid.latent_shape(16), &device);
        let mut whole: Option<Tensor<Flex, 4>> = None;
        for tiling in tilings {
            let (measured, image) = MEMORY.peak_of(|| {
                decode(&vae, pack(latents.clone()), grid, tiling, &()).expect("an image")
            });
            let formula = memory::vae_decoder(
                &config,
                width as u32,
                height as u32,
                tiling,
                numerics(FloatDType::F32),
            );
            let what = format!("VAE, {width} x {height}, {tiling:?}");
            hold &= holds(&what, measured, formula);
            let whole = whole.get_or_insert_with(|| image.clone());
            let largest = whole.clone().abs().max().into_scalar();
            let distance = (image - whole.clone()).abs().max().into_scalar();
            println!("{what}: {:e} from the whole", distance / largest);
            assert!(largest > 0.0 && distance <= 1e-6 * largest, "{what}");
        }
    }
    hold
}

fn the_vae_encoder() -> bool {
    let mut hold = true;
    let device = Default::default();
    let config = VaeConfig::published();
    let formats = |_: &str| WeightFormat::Dense;
    let vae = VaeEncoder::<Flex>::uninitialized(&config, &Builder::new(&device, &formats));
    let vae = randomize::<Flex, _>(vae);
    let tiles = |side| Tiling::Tiles { side };
    for (width, height, tilings) in [
        (128, 128, vec![Tiling::Whole, tiles(64)]),
        (256, 192, vec![Tiling::Whole, tiles(96)]),
    ] {
        let mut whole: Option<Tensor<Flex, 4>> = None;
        for tiling in tilings {
            let (measured, moments) = MEMORY.peak_of(|| {
                let pixels = random::<Flex, 4>([1, 3, height, width], &device);
                let posterior = encode_image(&vae, pixels * 0.0 + 0.5, tiling, &());
                posterior.expect("a posterior").moments()
            });
            let formula = memory::vae_encoder(
                &config,
                width as u32,
                height as u32,
                tiling,
                numerics(FloatDType::F32),
            );
            let what = format!("VAE encoder, {width} x {height}, {tiling:?}");
            hold &= holds(&what, measured, formula);
            let whole = whole.get_or_insert_with(|| moments.clone());
            let largest = whole.clone().abs().max().into_scalar();
            let distance = (moments - whole.clone()).abs().max().into_scalar();
            println!("{what}: {:e} from the whole", distance / largest);
            assert!(largest > 0.0 && distance <= 1e-6 * largest, "{what}");
        }
    }
    hold
}

/// Ends a run after its first step: the others need the same.
struct OneStep {
    done: bool,
}

impl Observer<Flex> for OneStep {
    fn latents(&mut self, _step: usize, latents: &Tensor<Flex, 3>) {
        assert!(latents.clone().abs().max().into_scalar() > 0.0);
        self.done = true;
    }

    fn cancelled(&self) -> bool {
        self.done
    }
}

fn the_transformer() -> bool {
    let mut hold = true;
    let device = Default::default();
    let config = TransformerConfig {
        num_layers: 1,
        ..TransformerConfig::published()
    };
    let transformer = Transformer::<Flex>::uninitialized(&config, &Builder::new(&device, &fp8));
    let transformer = randomize::<Flex, _>(transformer);
    for (side, text_lengths, dtype) in [
        (16, vec![64, 20], FloatDType::F32),
        // Much more image than text.
        (24, vec![20, 20], FloatDType::F32),
        (16, vec![200], FloatDType::BF16),
        (16, vec![30, 200], FloatDType::BF16),
        (32, vec![64], FloatDType::F32),
    ] {
        let grid = TokenGrid {
            height: side,
            width: side,
        };
        let schedule = Schedule::new(&SchedulerConfig::default(), 2, grid.tokens());
        let schedule = schedule.expect("a schedule");
        let (measured, latents) = MEMORY.peak_of(|| {
            let embeds =
                |tokens| random::<Flex, 3>([1, tokens, config.joint_attention_dim], &device);
            let noise = random(grid.latent_shape(16), &device);
            let work = Denoising {
                guidance: text_lengths.get(1).map(|&tokens| Guidance {
                    embeds: embeds(tokens),
                    scale: 4.0,
                    rule: GuidanceRule::Renormalised,
                }),
                dtype,
                ..Denoising::new(embeds(text_lengths[0]), noise, grid, &schedule)
            };
            let timesteps = schedule.timesteps(0);
            let mut layers = Resident(&transformer.block_modulations);
            let modulations =
                modulations(&transformer, &mut layers, &timesteps, dtype, &device, &());
            let modulations = modulations.expect("modulations");
            let mut blocks = Resident(&transformer.transformer_blocks);
            let mut one_step = OneStep { done: false };
            denoise(&transformer, &mut blocks, &modulations, work, &mut one_step)
        });
        assert!(matches!(latents, Err(PipelineError::Cancelled)));
        let sizes = DenoisingSizes {
            image_tokens: grid.tokens(),
            text_lengths: &text_lengths,
            timesteps: schedule.steps(),
            rank: 0,
        };
        let formula = memory::transformer(&config, sizes, numerics(dtype));
        let what = format!(
            "transformer, {} image and {text_lengths:?} text tokens, {dtype:?}",
            grid.tokens()
        );
        hold &= holds(&what, measured, formula);
    }
    hold
}

fn the_text_encoder() -> bool {
    let mut hold = true;
    let device = Default::default();
    let config = TextEncoderConfig {
        vocab_size: 1000,
        num_hidden_layers: 1,
        ..TextEncoderConfig::published()
    };
    let encoder = TextEncoder::<Flex>::uninitialized(&config, &Builder::new(&device, &fp8));
    let encoder = randomize::<Flex, _>(encoder);
    for (tokens, dtype) in [
        (100, FloatDType::F32),
        (200, FloatDType::BF16),
        (512, FloatDType::F32),
    ] {
        let prompt = PromptTokens {
            ids: (0..tokens as u32).collect(),
            prefix: 34,
            kept: tokens - 34,
            cut: 0,
        };
        let (measured, _) = MEMORY.peak_of(|| {
            let other = random::<Flex, 3>([1, tokens, config.hidden_size], &device);
            let embeds = encode_prompt(&encoder, &prompt, dtype, &device, &());
            (embeds.expect("embeddings"), other)
        });
        let formula = memory::text_encoder(&config, 1, tokens, numerics(dtype));
        hold &= holds(
            &format!("text encoder, {tokens} tokens, {dtype:?}"),
            measured,
            formula,
        );
    }
    hold
}
