//! The decoder after its mid block and the encoder before its own, as far as tiling and memory go:
//! what reads how far, and how large its maps are.

use crate::config::VaeConfig;

/// The steps of one resolution. All levels of a decoder but the first begin with an upsampler, and
/// all of an encoder but the last end with a downsampler.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Level(pub(crate) Vec<Step>);

/// One step of a level.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Step {
    /// What it does.
    pub(crate) kind: StepKind,
    /// Channels going in.
    pub(crate) input: usize,
    /// Channels coming out.
    pub(crate) output: usize,
    /// How many pixels away, at the level's resolution, a pixel still matters.
    pub(crate) margin: usize,
}

/// What a step does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StepKind {
    /// Convolves the image.
    Input,
    /// Doubles the resolution, then convolves.
    Upsample,
    /// Convolves, then halves the resolution.
    Downsample,
    /// A residual block.
    Residual,
    /// The last norm and convolution.
    Output,
}

/// How far a 3 x 3 convolution reads.
const SPATIAL: usize = 1;

impl Level {
    /// The levels of an encoder of these sizes, from full resolution down.
    pub(crate) fn of_encoder(config: &VaeConfig) -> Vec<Self> {
        let widths = config.encoder_widths();
        let last = widths.len() - 2;
        (0..=last)
            .map(|i| {
                let (before, output) = (widths[i], widths[i + 1]);
                let step = |kind, input, output, margin| Step {
                    kind,
                    input,
                    output,
                    margin,
                };
                let entry = step(StepKind::Input, 3, before, SPATIAL);
                let residual = (0..config.num_res_blocks).map(|r| {
                    let input = if r == 0 { before } else { output };
                    step(StepKind::Residual, input, output, 2 * SPATIAL)
                });
                let downsample = step(StepKind::Downsample, output, output, SPATIAL);
                let steps = (i == 0).then_some(entry).into_iter();
                let steps = steps.chain(residual);
                Self(steps.chain((i < last).then_some(downsample)).collect())
            })
            .collect()
    }

    /// The levels of a decoder of these sizes.
    pub(crate) fn of_decoder(config: &VaeConfig) -> Vec<Self> {
        let widths = config.decoder_widths();
        let last = widths.len() - 2;
        (0..=last)
            .map(|i| {
                // As many channels as the block before leaves; its upsampler halves them.
                let (before, output) = (widths[i], widths[i + 1]);
                let input = if i == 0 { before } else { before / 2 };
                let step = |kind, input, output, margin| Step {
                    kind,
                    input,
                    output,
                    margin,
                };
                let upsample = step(StepKind::Upsample, before, before / 2, SPATIAL);
                let residual = (0..=config.num_res_blocks).map(|r| {
                    let input = if r == 0 { input } else { output };
                    step(StepKind::Residual, input, output, 2 * SPATIAL)
                });
                let head = step(StepKind::Output, output, 3, SPATIAL);
                let steps = (i > 0).then_some(upsample).into_iter();
                let steps = steps.chain(residual);
                Self(steps.chain((i == last).then_some(head)).collect())
            })
            .collect()
    }

    /// How many pixels away, at the level's resolution, a pixel still matters to its output.
    pub(crate) fn margin(&self) -> usize {
        self.0.iter().map(|step| step.margin).sum()
    }

    /// Channels coming out.
    pub(crate) fn output(&self) -> usize {
        self.0.last().map_or(0, |step| step.output)
    }

    /// Elements of the maps that exist at once at the peak, where the level works on maps of
    /// `height` x `width` at its own resolution.
    pub(crate) fn elements(&self, height: usize, width: usize) -> u64 {
        let steps = self.0.iter().map(|step| step.elements(height, width));
        steps.max().unwrap_or(0)
    }
}

/// Elements of the mid block's maps that exist at once at the peak, in its attention: the input,
/// queries, keys and values in one and each by itself, and the output.
pub(crate) fn mid_elements(channels: usize, height: usize, width: usize) -> u64 {
    8 * (channels * height * width) as u64
}

impl Step {
    /// As [`Level::elements`]. A convolution copies its input into one with a border of zeros.
    pub(crate) fn elements(&self, height: usize, width: usize) -> u64 {
        let (input, output) = (self.input as u64, self.output as u64);
        let area = (height * width) as u64;
        let padded = ((height + 2) * (width + 2)) as u64;
        match self.kind {
            StepKind::Upsample => {
                let doubling = input * area.div_ceil(4) + input * area;
                let convolution = input * (area + padded) + output * area;
                doubling.max(convolution)
            }
            // The block's input waits for the end.
            StepKind::Residual => {
                let first = input * (area + padded) + output * area;
                let second = output * (area + padded) + output * area;
                input * area + first.max(second)
            }
            StepKind::Input | StepKind::Output => input * (area + padded) + output * area,
            // The convolution runs at the full resolution, and a quarter of it is kept.
            StepKind::Downsample => {
                let convolution = input * (area + padded) + output * area;
                convolution.max(input * area + output * area + output * area.div_ceil(4))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use backends::WeightFormat;
    use burn_flex::Flex;

    use super::*;
    use crate::builder::Builder;
    use crate::vae::{Decoder, Encoder};

    #[test]
    fn a_config_tells_what_its_modules_do() {
        for (dim_mult, num_res_blocks) in [(vec![1, 2, 4, 4], 2), (vec![2, 1, 3, 4], 1)] {
            let config = VaeConfig {
                base_dim: 6,
                z_dim: 4,
                dim_mult,
                num_res_blocks,
                latents_mean: vec![0.0; 4],
                latents_std: vec![1.0; 4],
            };
            let formats = |_: &str| WeightFormat::Dense;
            let device = Default::default();
            let decoder = Decoder::<Flex>::uninitialized(&config, &Builder::new(&device, &formats));
            assert_eq!(decoder.levels(), Level::of_decoder(&config));
            let encoder = Encoder::<Flex>::uninitialized(&config, &Builder::new(&device, &formats));
            assert_eq!(encoder.levels(), Level::of_encoder(&config));
        }
    }
}
