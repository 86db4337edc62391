use std::num::NonZeroUsize;

use backends::Arithmetic;
use backends::working_memory::{F32, Numerics, RunningKernels};
use burn::tensor::FloatDType;

use super::*;
use crate::config::{TextEncoderConfig, TransformerConfig, VaeConfig};
use crate::vae::Tiling;

const PROCESSOR: Numerics = Numerics {
    dtype: FloatDType::F32,
    kernels: RunningKernels::Processor {
        threads: NonZeroUsize::MIN,
    },
    arithmetic: Arithmetic::Exact,
};
const CUDA: Numerics = Numerics {
    dtype: FloatDType::BF16,
    kernels: RunningKernels::Cuda,
    arithmetic: Arithmetic::Exact,
};
const PORTABLE: Numerics = Numerics {
    dtype: FloatDType::BF16,
    kernels: RunningKernels::Portable,
    arithmetic: Arithmetic::Exact,
};

/// The memory of denoising at one timestep and without adapters.
fn denoising(
    dit: &TransformerConfig,
    image_tokens: usize,
    text_lengths: &[usize],
    numerics: Numerics,
) -> u64 {
    let sizes = DenoisingSizes {
        image_tokens,
        text_lengths,
        timesteps: 1,
        rank: 0,
    };
    transformer(dit, sizes, numerics)
}

/// The published sizes.
fn published() -> (TextEncoderConfig, TransformerConfig, VaeConfig) {
    let text_encoder = TextEncoderConfig::published();
    let transformer = TransformerConfig::published();
    let vae = VaeConfig::published();
    (text_encoder, transformer, vae)
}

#[test]
fn quantized_activations_take_memory_too() {
    let (_, dit, _) = published();
    let image_tokens = 6889;
    let codes = image_tokens as u64 * 3072;
    for numerics in [PROCESSOR, CUDA, PORTABLE] {
        let of = |arithmetic| {
            let numerics = Numerics {
                arithmetic,
                ..numerics
            };
            denoising(&dit, image_tokens, &[64, 20], numerics)
        };
        let (exact, quantized) = (of(Arithmetic::Exact), of(Arithmetic::Fp8));
        // On a GPU, exact layers of the text hold a decoded weight on the side stream. On the
        // others the peak may be at another moment.
        let (least, beside) = match numerics == CUDA {
            true => (codes, 2 * 4 * 3072 * 3072),
            false => (0, 0),
        };
        assert!(quantized + beside >= exact + least, "{exact} {quantized}");
        assert!(quantized <= exact + 200 * codes, "{exact} {quantized}");
    }
}

#[test]
fn larger_work_never_needs_less() {
    let (encoder, dit, vae) = published();
    for numerics in [PROCESSOR, CUDA, PORTABLE] {
        let sizes = [1, 2, 64, 127, 128, 512, 1000, 4096, 16_384, 65_536];
        for pair in sizes.windows(2) {
            let [few, many] = [pair[0], pair[1]];
            let of = |tokens| {
                [
                    text_encoder(&encoder, 1, tokens, numerics),
                    denoising(&dit, tokens, &[64, 20], numerics),
                    denoising(&dit, 4096, &[tokens], numerics),
                ]
            };
            // At 128 rows the processor's product takes larger tiles.
            if many != 128 {
                let (few, many) = (of(few), of(many));
                assert!(few.iter().zip(many).all(|(few, many)| *few <= many));
            }
            let of = |side| vae_decoder(&vae, side, side, Tiling::Whole, numerics);
            assert!(of(few as u32) <= of(many as u32));
        }
    }
}

#[test]
fn guidance_holds_both_streams_and_one_attention() {
    let (_, dit, _) = published();
    for tokens in [4096, 16_384] {
        let of = |lengths| denoising(&dit, tokens, lengths, PROCESSOR);
        let (one, two) = (of(&[64]), of(&[64, 20]));
        assert!((one + one / 2..2 * one).contains(&two), "{one} to {two}");
    }
    // The scores, if they are held, are those of one branch at a time.
    let of = |lengths| denoising(&dit, 83 * 83, lengths, PORTABLE);
    let (one, two) = (of(&[64]), of(&[64, 20]));
    assert!((one + 1..one + one / 2).contains(&two), "{one} to {two}");
}

#[test]
fn adapters_take_more_the_larger_their_rank() {
    let (_, dit, _) = published();
    for numerics in [PROCESSOR, CUDA, PORTABLE] {
        let of = |rank| {
            let sizes = DenoisingSizes {
                image_tokens: 4096,
                text_lengths: &[64, 20],
                timesteps: 1,
                rank,
            };
            transformer(&dit, sizes, numerics)
        };
        assert_eq!(of(0), denoising(&dit, 4096, &[64, 20], numerics));
        let ranks = [0, 8, 64, 256, 1024].map(of);
        assert!(ranks.is_sorted(), "{ranks:?}");
        // With usual ranks: the sum's second term, and the input of GELU.
        let activation = numerics.bytes(2 * 4096 * 4 * 3072);
        let most = numerics.pooled(2 * activation, 215);
        assert!(ranks[3] - ranks[0] < most, "{ranks:?}");
    }
}

#[test]
fn the_table_of_modulations_takes_what_its_groups_take() {
    let (_, dit, _) = published();
    // Shift, scale and gate for both halves of both streams of 60 blocks, and the output's two.
    let row = (60 * 12 + 2) * 3072;
    for numerics in [PROCESSOR, CUDA, PORTABLE] {
        let row = numerics.bytes(row);
        let of = |timesteps| {
            let sizes = DenoisingSizes {
                image_tokens: 4096,
                text_lengths: &[64, 20],
                timesteps,
                rank: 0,
            };
            [
                transformer(&dit, sizes, numerics),
                modulations(&dit, timesteps, 0, numerics),
            ]
        };
        // The group of one timestep is filled up.
        let one = of(1);
        assert_eq!(modulation_table(&dit, 1, numerics), 8 * row);
        assert_eq!(of(2)[0], one[0] + row);
        assert_eq!(of(64)[0], one[0] + 63 * row);
        // The table is a part of what computing it takes.
        assert!(one[1] > 8 * row);
        let grown = of(64)[1] - one[1];
        assert!((63 * row..64 * row).contains(&grown), "{grown}");
        // Adapters never make it less.
        let ranks = [0, 64, 1024].map(|rank| modulations(&dit, 8, rank, numerics));
        assert!(ranks.is_sorted(), "{ranks:?}");
        // Elsewhere the peak is at another moment.
        assert!(numerics != CUDA || ranks[0] < ranks[1], "{ranks:?}");
    }
}

#[test]
fn prompts_that_are_encoded_together_wait_for_each_other() {
    let (encoder, _, _) = published();
    for numerics in [PROCESSOR, CUDA, PORTABLE] {
        let of = |prompts| text_encoder(&encoder, prompts, 100, numerics);
        let waiting = 100 * 4 * 3584;
        assert!(of(2) - of(1) >= waiting, "{}", of(2) - of(1));
        assert!(of(11) - of(1) >= 10 * waiting);
        assert!(of(2) - of(1) < 2 * waiting);
    }
}

#[test]
fn smaller_tiles_never_need_more() {
    let (_, _, vae) = published();
    for numerics in [PROCESSOR, CUDA, PORTABLE] {
        for (width, height) in [(1328, 1328), (1664, 928), (512, 512), (3840, 2160)] {
            let of = |tiling| vae_decoder(&vae, width, height, tiling, numerics);
            let mut before = of(Tiling::Whole);
            for side in [4096, 2048, 1024, 512, 256, 128] {
                let now = of(Tiling::Tiles { side });
                assert!(
                    now <= before,
                    "{width} x {height}, {side}: {now} > {before}"
                );
                before = now;
            }
        }
    }
}

#[test]
fn encoding_needs_no_more_than_decoding_and_smaller_tiles_never_more() {
    let (_, _, vae) = published();
    for numerics in [PROCESSOR, CUDA, PORTABLE] {
        for (width, height) in [(1328, 1328), (1664, 928), (512, 512), (3840, 2160)] {
            let of = |tiling| vae_encoder(&vae, width, height, tiling, numerics);
            let decoding = vae_decoder(&vae, width, height, Tiling::Whole, numerics);
            let mut before = of(Tiling::Whole);
            // The image and twice the moments wait in the mid block; decoding has only the
            // latents there.
            let waiting = F32 * 5 * u64::from(width) * u64::from(height);
            assert!(before <= decoding + waiting, "{before} > {decoding}");
            for side in [4096, 2048, 1024, 512, 256, 128] {
                let now = of(Tiling::Tiles { side });
                assert!(
                    now <= before,
                    "{width} x {height}, {side}: {now} > {before}"
                );
                before = now;
            }
        }
    }
}

#[test]
fn the_last_level_decides_what_a_whole_image_needs() {
    // The upsampler of 192 channels into full resolution: its input, doubled and with a
    // border, and its output.
    let (_, _, vae) = published();
    let pixels = 1328 * 1328;
    let maps = 4 * pixels * (192 + 192 + 96);
    let bytes = vae_decoder(&vae, 1328, 1328, Tiling::Whole, PROCESSOR);
    assert!((maps..maps + maps / 50).contains(&bytes), "{bytes}");
}

#[test]
fn the_bounds_hold_on_an_nvidia_gpu() {
    // MiB that an H200's driver had in use at the peak beside the weights, measured by
    // `benches/cuda/pipeline.py`: the side of the image; encoding, denoising with guidance, the
    // same with activations quantized to FP8, and decoding.
    const MEASURED: [(u32, [Option<u64>; 4]); 3] = [
        (512, [Some(194), Some(480), None, Some(800)]),
        (1024, [Some(194), Some(960), Some(928), Some(2816)]),
        (1328, [Some(194), Some(1376), Some(1312), Some(5184)]),
    ];
    let quantizing = Numerics {
        arithmetic: Arithmetic::Fp8,
        ..CUDA
    };
    let (encoder, dit, vae) = published();
    for (side, measured) in MEASURED {
        let tokens = (side as usize / 16).pow(2);
        let bounds = [
            text_encoder(&encoder, 1, 100, CUDA),
            denoising(&dit, tokens, &[64, 6], CUDA),
            denoising(&dit, tokens, &[64, 6], quantizing),
            vae_decoder(&vae, side, side, Tiling::Whole, CUDA),
        ];
        for (measured, bound) in measured.into_iter().zip(bounds) {
            let Some(measured) = measured else { continue };
            let ratio = bound as f64 / (measured << 20) as f64;
            assert!(
                (1.0..1.4).contains(&ratio),
                "{side}: {measured} MiB, {ratio:.2}"
            );
        }
    }
}

#[test]
fn the_portable_bodies_hold_the_scores() {
    let (_, dit, vae) = published();
    let tokens = 83 * 83 + 64;
    let scores = 2 * 24 * tokens * tokens;
    let bytes = denoising(&dit, 83 * 83, &[64], PORTABLE);
    assert!((scores..2 * scores).contains(&bytes), "{bytes}");
    // The VAE has one head, and computes in f32.
    let scores = 4 * (166u64 * 166).pow(2);
    let bytes = vae_decoder(&vae, 1328, 1328, Tiling::Tiles { side: 256 }, PORTABLE);
    assert!((scores..scores * 3 / 2).contains(&bytes), "{bytes}");
}
