//! The memory of encoding and decoding images.

use backends::working_memory::{AttentionShape, F32, Numerics};

use crate::config::VaeConfig;
use crate::vae::ladder::Ladder;
use crate::vae::stages::{Stage, Step, StepKind};
use crate::vae::tiling::TilePlan;
use crate::vae::{SCALE, Tiling};

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
    let ladder = Ladder::of_decoder(config);
    let latent = [height, width].map(|size| size as usize / SCALE);
    let plan = tiling.plan(&ladder, latent);

    let image = F32 * 3 * u64::from(width) * u64::from(height);
    let mid = mid_block(config.decoder_widths()[0], latent, numerics);
    // Beside a tile there are the map that all tiles read, and the finished tiles with the rest of
    // their halos.
    let stages = of_stages(&ladder, plan.as_ref(), latent, numerics, |seam| {
        seam + image + image / 2
    });
    // At the end the image is put together and clamped; the latents are small.
    let latents = F32 * 4 * (config.z_dim * latent[0] * latent[1]) as u64;
    let peak = mid.max(stages).max(3 * image);
    numerics.pooled(
        numerics.kept_between_products() + latents + peak,
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
    let ladder = Ladder::of_encoder(config);
    let size = [height, width].map(|size| size as usize);
    let latent = size.map(|size| size / SCALE);
    let plan = tiling.plan(&ladder, size);

    let image = F32 * 3 * u64::from(width) * u64::from(height);
    let channels = config.encoder_widths()[ladder.stages().len()];
    let mid = mid_block(channels, latent, numerics);
    // Beside a tile there are the finished tiles with the rest of their halos.
    let stages = of_stages(&ladder, plan.as_ref(), size, numerics, |seam| {
        seam + seam / 2
    });
    // At the end the tiles are put together: the last band, and all bands.
    let joined = plan.map_or(0, |plan| 3 * F32 * ladder.seam_elements(&plan.tiled, size));
    let peak = mid.max(stages).max(joined);
    let moments = F32 * 4 * (2 * config.z_dim * latent[0] * latent[1]) as u64;
    numerics.pooled(
        numerics.kept_between_products() + image + moments + peak,
        POOLED_PERCENT,
    )
}

/// The mid block: its residual blocks, and attention over all pixels in one head.
fn mid_block(channels: usize, [height, width]: [usize; 2], numerics: Numerics) -> u64 {
    let (pixels, channels) = ((height * width) as u64, channels as u64);
    let map = F32 * pixels * channels;
    let attention = numerics.attention(AttentionShape {
        tokens: pixels,
        keys: pixels,
        heads: 1,
        kv_heads: 1,
        dim: channels,
        causal: false,
    });
    // The input, and queries, keys and values, together and each by itself.
    let attention = 7 * map + attention;
    let convolution = Step {
        kind: StepKind::Residual,
        input: channels as usize,
        output: channels as usize,
        margin: 0,
    };
    attention.max(of_step(convolution, [height, width], numerics))
}

/// The stages of an input of `size` pixels: those that work on whole maps, and those that work on
/// tiles. `beside` tells the bytes that are alive beside a tile, from the bytes of the map between
/// the whole and the tiled stages.
fn of_stages(
    ladder: &Ladder,
    plan: Option<&TilePlan>,
    size: [usize; 2],
    numerics: Numerics,
    beside: impl Fn(u64) -> u64,
) -> u64 {
    let of_stage = |stage: &Stage, size| {
        let steps = stage.0.iter();
        let steps = steps.map(|&step| of_step(step, size, numerics));
        steps.max().unwrap_or(0)
    };
    let stages = ladder.stages();
    let tiled = plan.map_or(0..0, |plan| plan.tiled.clone());
    let whole = (0..stages.len()).filter(|index| !tiled.contains(index));
    let whole = whole.map(|index| of_stage(&stages[index], ladder.size_at(index, size)));
    let tiles = plan.and_then(|plan| {
        let stages = stages[tiled.clone()].iter().zip(plan.largest(ladder));
        let peak = stages.map(|(stage, size)| of_stage(stage, size)).max()?;
        Some(beside(F32 * ladder.seam_elements(&tiled, size)) + peak)
    });
    whole.chain(tiles).max().unwrap_or(0)
}

/// A step's maps and scratch memory.
fn of_step(step: Step, size: [usize; 2], numerics: Numerics) -> u64 {
    let (input, output) = (step.input as u64, step.output as u64);
    let kernel_size = size.map(|side| side as u64);
    let maps = step.peak(
        size,
        &|input, output| numerics.convolution_maps(kernel_size, input, output),
        &|channels| numerics.channel_norm_maps(kernel_size, channels),
    );
    F32 * maps + numerics.convolution_scratch(kernel_size, input.max(output), output)
}
