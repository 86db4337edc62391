//! Encoding and decoding images.

use super::kernels::{Attention, F32};
use super::{Kernels, Numerics};
use crate::config::VaeConfig;
use crate::vae::levels::{Level, Step, StepKind};
use crate::vae::{SCALE, Tiling, encoder_plan};

/// See [`Numerics::pooled`].
const POOLED_PERCENT: u64 = 160;

/// Bytes that [`decode`](crate::pipeline::decode) needs at its peak beside the VAE's weights, for
/// an image of `width` x `height` pixels. The VAE computes in f32, whatever the dtype.
pub fn vae_decoder(
    config: &VaeConfig,
    width: u32,
    height: u32,
    tiling: Tiling,
    numerics: Numerics,
) -> u64 {
    let numerics = numerics.in_f32();
    let levels = Level::of_decoder(config);
    let latent = [height, width].map(|size| size as usize / SCALE);
    let plan = tiling.plan(&levels, latent);
    let whole = plan.as_ref().map_or(levels.len(), |plan| plan.first);

    let image = F32 * 3 * u64::from(width) * u64::from(height);
    let [rows, columns] = latent;
    let channels = config.decoder_widths()[0];
    let mut peak = mid_block(channels, latent, numerics);
    for (i, level) in levels[..whole].iter().enumerate() {
        peak = peak.max(of_level(level, rows << i, columns << i, numerics));
    }
    if let Some(plan) = plan {
        let kept = levels[whole - 1].output() * (rows << (whole - 1)) * (columns << (whole - 1));
        for (level, [height, width]) in levels[whole..].iter().zip(plan.largest()) {
            // The map that all tiles read, and the finished ones with what is left of their
            // halos.
            let beside = F32 * kept as u64 + image + image / 2;
            peak = peak.max(beside + of_level(level, height, width, numerics));
        }
    }
    // In the end the image is put together and clamped; the latents are small.
    let latents = F32 * 4 * (config.z_dim * rows * columns) as u64;
    numerics.pooled(
        numerics.slabs() + latents + peak.max(3 * image),
        POOLED_PERCENT,
    )
}

/// Bytes that [`encode_image`](crate::pipeline::encode_image) needs at its peak beside the VAE's
/// weights, for an image of `width` x `height` pixels. The VAE computes in f32, whatever the dtype.
pub fn vae_encoder(
    config: &VaeConfig,
    width: u32,
    height: u32,
    tiling: Tiling,
    numerics: Numerics,
) -> u64 {
    let numerics = numerics.in_f32();
    let levels = Level::of_encoder(config);
    let size = [height, width].map(|size| size as usize);
    let latent = size.map(|size| size / SCALE);
    let plan = encoder_plan(tiling, &levels, size);
    let tiled = plan.as_ref().map_or(0, |plan| plan.tiled);

    let image = F32 * 3 * u64::from(width) * u64::from(height);
    let channels = config.encoder_widths()[levels.len()];
    let mut peak = mid_block(channels, latent, numerics);
    for (i, level) in levels.iter().enumerate().skip(tiled) {
        peak = peak.max(of_level(level, size[0] >> i, size[1] >> i, numerics));
    }
    if let Some(plan) = plan {
        let given = levels[tiled - 1].output() * (size[0] >> tiled) * (size[1] >> tiled);
        let given = F32 * given as u64;
        for (level, [height, width]) in levels.iter().zip(plan.largest()) {
            // The tiles that are finished, with what is left of their halos.
            let beside = given + given / 2;
            peak = peak.max(beside + of_level(level, height, width, numerics));
        }
        // In the end they are put together: the last band, and all bands.
        peak = peak.max(3 * given);
    }
    let moments = F32 * 4 * (2 * config.z_dim * latent[0] * latent[1]) as u64;
    numerics.pooled(numerics.slabs() + image + moments + peak, POOLED_PERCENT)
}

/// The mid block: its residual blocks, and attention over all pixels in one head.
fn mid_block(channels: usize, [height, width]: [usize; 2], numerics: Numerics) -> u64 {
    let (pixels, channels) = ((height * width) as u64, channels as u64);
    let map = F32 * pixels * channels;
    let attention = numerics.attention(Attention {
        tokens: pixels,
        keys: pixels,
        heads: 1,
        kv_heads: 1,
        dim: channels,
        causal: false,
    });
    // The input, queries, keys and values in one and each by itself.
    let attention = 7 * map + attention;
    let convolution = Step {
        kind: StepKind::Residual,
        input: channels as usize,
        output: channels as usize,
        margin: 0,
    };
    attention.max(of_step(convolution, height, width, numerics))
}

fn of_level(level: &Level, height: usize, width: usize, numerics: Numerics) -> u64 {
    let steps = level.0.iter();
    let steps = steps.map(|&step| of_step(step, height, width, numerics));
    steps.max().unwrap_or(0)
}

/// A step's maps and scratch.
fn of_step(step: Step, height: usize, width: usize, numerics: Numerics) -> u64 {
    let (input, output) = (step.input as u64, step.output as u64);
    let area = (height * width) as u64;
    let widest = input.max(output);
    let maps = match numerics.kernels {
        Kernels::Processor { .. } | Kernels::Cuda => step.elements(height, width),
        // A convolution copies its input into another layout, and its output back; a norm with
        // its activation has two maps beside its input and output.
        Kernels::Portable => match step.kind {
            StepKind::Upsample => (2 * input + 2 * output) * area,
            StepKind::Residual => {
                let norm = 3 * widest;
                let convolution = (2 * input + 2 * output).max(4 * output);
                (input + norm.max(convolution)) * area
            }
            StepKind::Downsample => (2 * input + 2 * output) * area,
            StepKind::Input | StepKind::Output => (4 * input).max(2 * input + 2 * output) * area,
        },
    };
    F32 * maps + numerics.convolution_scratch([height as u64, width as u64], widest, output)
}
