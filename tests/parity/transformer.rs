//! The transformer, block by block.

use burn::tensor::{FloatDType, Tensor, TensorData, activation};
use model::BlockSource;
use model::latents::{TokenGrid, pack};
use model::transformer::{
    Residual, RopeCentring, Streams, TransformerBlock, image_angles, sinusoid, text_angles,
};
use tests::{Models, TOLERANCE, Trace, check};

use crate::resident::{modulations, predictions};
use crate::{Flex, compare, deep, recorded};

/// The sinusoid's arguments reach 1000, where one unit in the last place of an f32 is 6e-5.
const SINUSOID_TOLERANCE: f32 = 1e-4;

#[test]
fn the_first_pass_is_that_of_the_reference() {
    for (case, trace) in deep("transformer") {
        let name = case.name.as_str();
        let device = Default::default();
        let transformer = Models::<Flex>::new(&case, device).transformer();
        let timestep = trace.f32("sigmas").1[0];
        let noise: Tensor<Flex, 4> = recorded::<Flex, 5>(&trace, "noise", &device).squeeze_dim(1);
        let embeds = recorded::<Flex, 3>(&trace, "prompt_embeds", &device);
        let grid = TokenGrid::of_image(case.width, case.height);
        let prompts = transformer.prompts(vec![embeds.clone()], grid, RopeCentring::Diffusers);

        let projected = sinusoid(timestep);
        let expected = trace.f32("transformer.time_proj");
        check(
            name,
            &[1, projected.len()],
            &projected,
            expected,
            SINUSOID_TOLERANCE,
        );
        let temb = transformer.time_text_embed.forward(&[timestep], &device);
        compare(
            name,
            &trace,
            "transformer.temb",
            temb.clone().squeeze_dim::<2>(1),
            TOLERANCE,
        );
        let temb = activation::silu(temb);

        let image = transformer.img_in.forward(pack(noise));
        compare(name, &trace, "transformer.img_in", image.clone(), TOLERANCE);
        let text = transformer.embed_text(embeds, FloatDType::F32);
        compare(name, &trace, "transformer.txt_in", text.clone(), TOLERANCE);
        let mut streams = Streams {
            image: Residual::new(image),
            text: Residual::new(text),
        };
        for (i, block) in transformer.transformer_blocks.iter().enumerate() {
            let modulation = transformer.block_modulations[i].forward(temb.clone());
            streams = block.forward(streams, modulation, &prompts.layout, &prompts.rotary);
            let Streams { image, text } = streams.clone();
            let recorded = |stream| format!("transformer.block{i}.{stream}");
            for (stream, tokens) in [("img", image), ("txt", text)] {
                compare(
                    name,
                    &trace,
                    &recorded(stream),
                    tokens.into_tensor(),
                    TOLERANCE,
                );
            }
        }
        let image = streams.image.into_tensor();
        let modulation = transformer.norm_out.linear.forward(temb);
        let normed = transformer.norm_out.forward(image, modulation);
        compare(
            name,
            &trace,
            "transformer.norm_out",
            normed.clone(),
            TOLERANCE,
        );
        compare(
            name,
            &trace,
            "step0.cond",
            transformer.proj_out.forward(normed),
            TOLERANCE,
        );
    }
}

#[test]
fn two_prompts_in_one_pass_are_two_passes() {
    for (case, trace) in deep("transformer") {
        let name = case.name.as_str();
        let device = Default::default();
        let transformer = Models::<Flex>::new(&case, device).transformer();
        let noise: Tensor<Flex, 4> = recorded::<Flex, 5>(&trace, "noise", &device).squeeze_dim(1);
        let long = recorded::<Flex, 3>(&trace, "prompt_embeds", &device);
        let short = recorded::<Flex, 3>(&trace, "negative_prompt_embeds", &device);
        assert_ne!(long.dims(), short.dims(), "{name}: equal lengths");
        let grid = TokenGrid::of_image(case.width, case.height);
        let forward = |embeds| {
            let prompts = transformer.prompts(embeds, grid, RopeCentring::Diffusers);
            predictions(&transformer, pack(noise.clone()), &prompts, 0.7)
        };
        let alone = [long.clone(), short.clone()].map(|embeds| forward(vec![embeds]));
        let largest = alone[0].clone().abs().max().into_scalar();
        let distance = |a: &Tensor<Flex, 3>, b: &Tensor<Flex, 3>| {
            (a.clone() - b.clone()).abs().max().into_scalar() / largest
        };
        // The prompts must matter, or a mix-up would go unnoticed.
        let apart = distance(&alone[0], &alone[1]);
        assert!(apart > 1e-3, "{name}: the prompts are {apart:e} apart");
        for (embeds, order) in [
            (vec![long.clone(), short.clone()], [0, 1]),
            (vec![short, long], [1, 0]),
        ] {
            let together = forward(embeds);
            assert_eq!(together.dims()[0], 2, "{name}");
            for (branch, expected) in order.into_iter().enumerate() {
                let found = together.clone().narrow(0, branch, 1);
                let distance = distance(&found, &alone[expected]);
                println!("{name}: branch {branch} is {distance:e} apart");
                assert!(distance <= 1e-6, "{name}: branch {branch}, {distance:e}");
            }
        }
    }
}

/// Lends copies of a transformer's blocks, of which there is one at a time, and fails at one.
struct OneSlot<'a> {
    blocks: &'a [TransformerBlock<Flex>],
    slot: Option<TransformerBlock<Flex>>,
    asked: Vec<usize>,
    fails_at: Option<usize>,
}

impl BlockSource<TransformerBlock<Flex>> for OneSlot<'_> {
    type Error = usize;

    fn count(&self) -> usize {
        self.blocks.len()
    }

    fn with_block<T>(
        &mut self,
        index: usize,
        work: impl FnOnce(&TransformerBlock<Flex>) -> T,
    ) -> Result<T, usize> {
        self.asked.push(index);
        if self.fails_at == Some(index) {
            return Err(index);
        }
        Ok(work(self.slot.insert(self.blocks[index].clone())))
    }
}

#[test]
fn lent_blocks_give_what_resident_ones_give() {
    for (case, trace) in deep("transformer") {
        let name = case.name.as_str();
        let device = Default::default();
        let transformer = Models::<Flex>::new(&case, device).transformer();
        let noise: Tensor<Flex, 4> = recorded::<Flex, 5>(&trace, "noise", &device).squeeze_dim(1);
        let embeds = recorded::<Flex, 3>(&trace, "prompt_embeds", &device);
        let grid = TokenGrid::of_image(case.width, case.height);
        let prompts = transformer.prompts(vec![embeds], grid, RopeCentring::Diffusers);
        let resident = predictions(&transformer, pack(noise.clone()), &prompts, 0.7);

        let blocks = transformer.transformer_blocks.as_slice();
        let mut source = OneSlot {
            blocks,
            slot: None,
            asked: Vec::new(),
            fails_at: None,
        };
        let (dtype, never) = (FloatDType::F32, || false);
        let table = modulations(&transformer, &[0.7], dtype);
        let timestep = table.find(0.7).expect("the timestep that was computed");
        let pass = |source: &mut OneSlot| {
            let latents = pack(noise.clone());
            transformer.forward_through(source, latents, &prompts, timestep, dtype, &never)
        };
        let lent = pass(&mut source).expect("blocks").expect("not cancelled");
        assert_eq!(lent.into_data(), resident.into_data(), "{name}");
        // Each once, in order.
        let all: Vec<usize> = (0..blocks.len()).collect();
        assert_eq!(source.asked, all, "{name}");
        // A block that cannot be had ends the pass.
        let last = blocks.len() - 1;
        (source.asked, source.fails_at) = (Vec::new(), Some(last));
        assert_eq!(pass(&mut source).err(), Some(last), "{name}");
        assert_eq!(source.asked, all, "{name}");
    }
}

#[test]
fn rotary_angles_are_those_of_the_reference() {
    for (case, trace) in deep("transformer") {
        let grid = TokenGrid::of_image(case.width, case.height);
        let axes = match trace.f32("rope.img").0[1] * 2 {
            128 => [16, 56, 56],
            _ => [4, 6, 6],
        };
        let text_tokens = trace.f32("prompt_embeds").0[1];
        let image = image_angles(grid, axes, RopeCentring::Diffusers);
        compare_angles(&trace, "rope.img", &image);
        compare_angles(&trace, "rope.txt", &text_angles(grid, text_tokens, axes));
    }
}

/// Compares angles with recorded cosines and sines.
fn compare_angles(trace: &Trace, name: &str, angles: &[f32]) {
    let (shape, expected) = trace.f32(name);
    let found: Vec<f32> = angles.iter().flat_map(|a| [a.cos(), a.sin()]).collect();
    check(name, &shape, &found, (shape.clone(), expected), 2e-6);
}

#[test]
fn one_token_out_of_place_is_noticed() {
    // The tests above must be able to fail: the smallest mistake in the order of latents does.
    let (case, trace) = deep("transformer").remove(0);
    let device = Default::default();
    let transformer = Models::<Flex>::new(&case, device).transformer();
    let (shape, mut values) = trace.f32("noise");
    values.swap(0, 1);
    let noise: Tensor<Flex, 5> = Tensor::from_data(TensorData::new(values, shape), &device);
    let image = transformer.img_in.forward(pack(noise.squeeze_dim(1)));
    let found: Vec<f32> = image.clone().into_data().iter().collect();
    let (_, expected) = trace.f32("transformer.img_in");
    let far = found
        .iter()
        .zip(&expected)
        .any(|(f, e)| (f - e).abs() > 1e-3);
    assert!(far, "a swap of two latents went unnoticed");
}
