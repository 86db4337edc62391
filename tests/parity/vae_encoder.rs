//! The VAE's encoder, stage by stage and tile by tile.

use burn::tensor::Tensor;
use burn::tensor::backend::Backend;
use model::vae::Tiling;
use tests::{ImageCase, Models, TOLERANCE, Trace, image_cases};

use crate::{Flex, compare, recorded};

/// A share of the largest magnitude.
const TILED_TOLERANCE: f32 = 1e-6;

fn deep() -> Vec<(ImageCase, Trace)> {
    let cases = image_cases().into_iter();
    let deep = cases.filter(|case| case.case.deep.iter().any(|deep| deep == "vae_encoder"));
    let found: Vec<_> = deep
        .map(|case| {
            let trace = Trace::open(&case.case.trace);
            (case, trace)
        })
        .collect();
    assert!(found.len() >= 2);
    found
}

#[test]
fn stages_are_those_of_the_reference() {
    for (ImageCase { case, .. }, trace) in deep() {
        let name = case.name.as_str();
        let device = Default::default();
        let encoder = Models::<Flex>::new(&case, device).vae_encoder();
        let stage = |stage: &str, x: &Tensor<Flex, 4>| {
            let tensor = format!("vae.encoder.{stage}");
            compare(name, &trace, &tensor, x.clone(), TOLERANCE);
        };
        let x = recorded::<Flex, 4>(&trace, "pixels", &device);
        let mut x = encoder.encoder.conv_in.forward(x);
        stage("conv_in", &x);
        for (i, block) in encoder.encoder.down_blocks.iter().enumerate() {
            x = block.forward(x);
            stage(&format!("down{i}"), &x);
        }
        let x = encoder.encoder.mid_block.forward(x);
        stage("mid", &x);
        stage("norm_out", &encoder.encoder.norm_out.forward(x.clone()));
        let x = encoder.encoder.norm_out.forward_silu(x);
        stage("conv_out", &encoder.encoder.conv_out.forward(x));
    }
}

#[test]
fn moments_are_those_of_the_reference() {
    for ImageCase { case, .. } in image_cases() {
        let trace = Trace::open(&case.trace);
        let device = Default::default();
        let encoder = Models::<Flex>::new(&case, device).vae_encoder();
        let pixels = recorded::<Flex, 4>(&trace, "pixels", &device);
        let moments = |tiling| {
            let posterior = encoder.encode(pixels.clone(), tiling, &|| false);
            posterior.expect("not cancelled").moments()
        };
        let whole = moments(Tiling::Whole);
        let largest = whole.clone().abs().max().into_scalar();
        compare(&case.name, &trace, "moments", whole.clone(), TOLERANCE);
        for side in [1, 8, 16, 23, 40, 64] {
            let tiled = moments(Tiling::Tiles { side });
            assert_eq!(tiled.dims(), whole.dims());
            let distance = (tiled - whole.clone()).abs().max().into_scalar();
            println!("{} in tiles of {side}: {:e}", case.name, distance / largest);
            assert!(
                distance <= TILED_TOLERANCE * largest,
                "{side}: {distance:e}"
            );
        }
    }
}

#[test]
fn larger_images_are_the_same_in_tiles() {
    // With halos on all sides.
    let (ImageCase { case, .. }, trace) = deep().remove(0);
    let device = Default::default();
    let encoder = Models::<Flex>::new(&case, device).vae_encoder();
    let pixels = recorded::<Flex, 4>(&trace, "pixels", &device).repeat(&[1, 1, 7, 6]);
    let encode = |tiling| {
        let posterior = encoder.encode(pixels.clone(), tiling, &|| false);
        posterior.expect("not cancelled").mode()
    };
    let whole = encode(Tiling::Whole);
    let largest = whole.clone().abs().max().into_scalar();
    for side in [40, 61, 128, 200] {
        let tiled = encode(Tiling::Tiles { side });
        let distance = (tiled - whole.clone()).abs().max().into_scalar();
        println!("in tiles of {side}: {:e}", distance / largest);
        assert!(
            distance <= TILED_TOLERANCE * largest,
            "{side}: {distance:e}"
        );
    }
}

#[test]
fn a_halo_too_narrow_would_be_noticed() {
    // The tests above must be able to fail: without any halo, what lies beyond a tile is missing.
    let (ImageCase { case, .. }, trace) = deep().remove(0);
    let device = Default::default();
    let encoder = Models::<Flex>::new(&case, device).vae_encoder();
    let pixels = recorded::<Flex, 4>(&trace, "pixels", &device);
    let first = |pixels| {
        let x = encoder.encoder.conv_in.forward(pixels);
        let blocks = &encoder.encoder.down_blocks[..3];
        blocks.iter().fold(x, |x, block| block.forward(x))
    };
    let whole = first(pixels.clone()).narrow(2, 0, 8);
    let cut = first(pixels.narrow(2, 0, 16));
    let distance = (cut - whole).abs().max().into_scalar();
    assert!(distance > 100.0 * TILED_TOLERANCE);
}

#[test]
fn every_level_and_tile_asks_whether_to_go_on() {
    let (ImageCase { case, .. }, trace) = deep().remove(0);
    let device = Default::default();
    let encoder = Models::<Flex>::new(&case, device).vae_encoder();
    let pixels = recorded::<Flex, 4>(&trace, "pixels", &device);
    for tiling in [Tiling::Whole, Tiling::Tiles { side: 16 }] {
        let questions = |last: usize| {
            let asked = std::cell::Cell::new(0);
            let posterior = encoder.encode(pixels.clone(), tiling, &|| {
                asked.set(asked.get() + 1);
                asked.get() > last
            });
            (asked.get(), posterior.is_some())
        };
        let (all, finished) = questions(usize::MAX);
        assert!(finished && all >= 5, "{all} questions");
        for last in 0..all {
            assert_eq!(questions(last), (last + 1, false));
        }
    }
    Flex::memory_cleanup(&device);
}
