//! The transformer, block by block.

use burn::tensor::{FloatDType, Tensor, TensorData, activation};
use model::latents::{TokenGrid, pack};
use model::transformer::{image_angles, sinusoid, text_angles};
use tests::{Models, TOLERANCE, Trace, check};

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
        let rotary = transformer.rotary(grid, embeds.dims()[1], &device);

        let projected = sinusoid(timestep);
        let expected = trace.f32("transformer.time_proj");
        check(
            name,
            &[1, projected.len()],
            &projected,
            expected,
            SINUSOID_TOLERANCE,
        );
        let temb = transformer.time_text_embed.forward(timestep, &device);
        compare(
            name,
            &trace,
            "transformer.temb",
            temb.clone().squeeze_dim::<2>(1),
            TOLERANCE,
        );
        let temb = activation::silu(temb);

        let mut image = transformer.img_in.forward(pack(noise));
        compare(name, &trace, "transformer.img_in", image.clone(), TOLERANCE);
        let mut text = transformer.embed_text(embeds, FloatDType::F32);
        compare(name, &trace, "transformer.txt_in", text.clone(), TOLERANCE);
        for (i, block) in transformer.transformer_blocks.iter().enumerate() {
            (image, text) = block.forward(image, text, temb.clone(), &rotary);
            let recorded = |stream| format!("transformer.block{i}.{stream}");
            compare(name, &trace, &recorded("img"), image.clone(), TOLERANCE);
            compare(name, &trace, &recorded("txt"), text.clone(), TOLERANCE);
        }
        let normed = transformer.norm_out.forward(image, temb);
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
fn rotary_angles_are_those_of_the_reference() {
    for (case, trace) in deep("transformer") {
        let grid = TokenGrid::of_image(case.width, case.height);
        let axes = match trace.f32("rope.img").0[1] * 2 {
            128 => [16, 56, 56],
            _ => [4, 6, 6],
        };
        let text_tokens = trace.f32("prompt_embeds").0[1];
        compare_angles(&trace, "rope.img", &image_angles(grid, axes));
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
