//! The shapes of the decoder after its mid block and of the encoder before its own: how far each
//! step reads and how large its maps are. Tiles and memory are planned from them.

use crate::config::VaeConfig;

/// A stage: the steps at one resolution. Every stage of a decoder but the first begins with an
/// upsampler, and every stage of an encoder but the last ends with a downsampler.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stage(pub(crate) Vec<Step>);

/// One step of a stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Step {
    pub(crate) kind: StepKind,
    /// Channels going in.
    pub(crate) input: usize,
    /// Channels coming out.
    pub(crate) output: usize,
    /// The largest distance, in pixels at the stage's resolution, over which an input pixel affects
    /// an output pixel.
    pub(crate) margin: usize,
}

/// The kinds of steps.
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

/// The margin of a 3 x 3 convolution.
const SPATIAL: usize = 1;

impl Stage {
    /// The stages of an encoder of these sizes, from full resolution down.
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

    /// The stages of a decoder of these sizes, up to full resolution.
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

    /// The largest distance, in pixels at the stage's resolution, over which an input pixel affects
    /// an output pixel.
    pub(crate) fn margin(&self) -> usize {
        self.0.iter().map(|step| step.margin).sum()
    }

    /// Channels going in.
    pub(crate) fn input(&self) -> usize {
        self.0.first().map_or(0, |step| step.input)
    }

    /// Channels coming out.
    pub(crate) fn output(&self) -> usize {
        self.0.last().map_or(0, |step| step.output)
    }

    /// The elements of all maps that exist at the same time at the stage's peak, where it works
    /// on maps of `size` at its own resolution.
    pub(crate) fn elements(&self, size: [usize; 2]) -> u64 {
        let steps = self.0.iter().map(|step| step.elements(size));
        steps.max().unwrap_or(0)
    }
}

/// The elements of the mid block's maps that exist at the same time at its peak, in its attention:
/// the input, queries, keys and values in one map and each by itself, and the output.
pub(crate) fn mid_elements(channels: usize, [height, width]: [usize; 2]) -> u64 {
    8 * (channels * height * width) as u64
}

impl Step {
    /// The elements of all maps that exist at the same time at the step's peak, if a convolution
    /// copies its input into a map with a border of zeros.
    pub(crate) fn elements(&self, size: [usize; 2]) -> u64 {
        let [height, width] = size.map(|side| side as u64);
        let area = height * width;
        let padded = (height + 2) * (width + 2);
        self.peak(
            size,
            &|input, output| input * (area + padded) + output * area,
            &|channels| channels * area,
        )
    }

    /// The elements of all maps that exist at the same time at the step's peak on maps of `size`.
    ///
    /// * `convolution`: the elements that a convolution from a number of channels to another one
    ///   holds, its input and its output included.
    /// * `norm`: the elements that a norm of a number of channels holds, without its input.
    pub(crate) fn peak(
        &self,
        [height, width]: [usize; 2],
        convolution: &dyn Fn(u64, u64) -> u64,
        norm: &dyn Fn(u64) -> u64,
    ) -> u64 {
        let (input, output) = (self.input as u64, self.output as u64);
        let area = (height * width) as u64;
        match self.kind {
            StepKind::Upsample => {
                let doubling = input * area.div_ceil(4) + input * area;
                doubling.max(convolution(input, output))
            }
            // The block's input waits for the end.
            StepKind::Residual => {
                let first = norm(input).max(convolution(input, output));
                let second = norm(output).max(convolution(output, output));
                input * area + first.max(second)
            }
            StepKind::Input => convolution(input, output),
            StepKind::Output => (input * area + norm(input)).max(convolution(input, output)),
            // The convolution runs at the full resolution, and a quarter of it is kept.
            StepKind::Downsample => {
                let kept = input * area + output * area + output * area.div_ceil(4);
                kept.max(convolution(input, output))
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
            assert_eq!(decoder.stages(), Stage::of_decoder(&config));
            let encoder = Encoder::<Flex>::uninitialized(&config, &Builder::new(&device, &formats));
            assert_eq!(encoder.stages(), Stage::of_encoder(&config));
        }
    }
}
